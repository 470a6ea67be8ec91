// The cell that a file called gated.* or continuous.* is compiled for. Each of these files is
// compiled once for every cell of SPARSE_ENGINE_GATED_CELLS (sparse_engine/gated.h), or of
// SPARSE_ENGINE_CONTINUOUS_CELLS (sparse_engine/continuous.h); the build defines
//   SPARSE_ENGINE_CELL: its name, such as lstm, and
//   SPARSE_ENGINE_CELL_CLASS: its class in csrc/cells, such as Lstm.
#pragma once

#define SPARSE_ENGINE_QUOTED(text) #text
#define SPARSE_ENGINE_TEXT(text) SPARSE_ENGINE_QUOTED(text)
#define SPARSE_ENGINE_JOINED(name, way) name##_##way
#define SPARSE_ENGINE_NAME(name, way) SPARSE_ENGINE_JOINED(name, way)

// lstm_forward for `forward`.
#define SPARSE_ENGINE_OF_CELL(way) SPARSE_ENGINE_NAME(SPARSE_ENGINE_CELL, way)

#include SPARSE_ENGINE_TEXT(SPARSE_ENGINE_CELL.h)
