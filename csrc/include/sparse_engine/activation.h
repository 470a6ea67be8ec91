// The activations of which cells have a choice.
#pragma once

namespace sparse_engine {

enum class Activation { kTanh, kRelu, kSoftplus, kSigmoid };

}  // namespace sparse_engine
