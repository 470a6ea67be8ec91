/* Sparse recurrent networks without PyTorch or Python: inference on the CPU, in C.
 *
 * Networks are read from safetensors files that hold the state dict of a model of sparse_engine, in
 * float32. A network is found by its name in the model and is told what it is, since a state dict
 * does not say it:
 *
 *     se_file* file;
 *     se_recurrent* rnn;
 *     se_linear* head;
 *     if (se_open("model.safetensors", &file)) die(se_last_error());
 *     if (se_recurrent_load(file, "rnn", SE_LSTM, 0, &rnn)) die(se_last_error());
 *     if (se_linear_load(file, "head", 0, &head)) die(se_last_error());
 *     se_close(file);
 *
 * Every function that can fail returns a status, and se_last_error() says what was expected and
 * what was found. Files may hold anything: they are checked completely before a network is made.
 * Loaded networks do not change; several threads may use one at once, each with state and results
 * of its own. Arrays are dense and in row-major order.
 */
#ifndef SPARSE_ENGINE_C_LIBRARY
#define SPARSE_ENGINE_C_LIBRARY

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  SE_OK = 0,
  SE_ERROR_ARGUMENT,    /* a pointer, size or name that makes no sense */
  SE_ERROR_FILE,        /* the file cannot be opened or read */
  SE_ERROR_FORMAT,      /* it is no safetensors file, or its tensors are no network */
  SE_ERROR_MISSING,     /* the file has no tensor of that name */
  SE_ERROR_UNSUPPORTED, /* a dtype, an option of the network or a processor that is not supported */
  SE_ERROR_MEMORY       /* memory ran out */
} se_status;

/* What a recurrent network is: torch.nn.RNN with either nonlinearity, torch.nn.LSTM, torch.nn.GRU.
 */
typedef enum { SE_RNN_TANH = 0, SE_RNN_RELU, SE_LSTM, SE_GRU } se_kind;

typedef struct se_file se_file;
typedef struct se_recurrent se_recurrent;
typedef struct se_linear se_linear;

/* What the last call that failed in this thread has to say; an empty text before the first. */
const char* se_last_error(void);

/* The greatest number of threads of a call, by default as many as OpenMP has. The results have the
 * same bits for any number. */
se_status se_set_threads(int threads);

se_status se_open(const char* path, se_file** file);
void se_close(se_file* file);

/* Loads a SparseRNN, SparseLSTM or SparseGRU (or the dense network of torch.nn) of any number of
 * layers in one direction, without projection and layer normalisation. `name` is that of the
 * network in the model, or "" where the model is the network. `input_size` may be 0 where the input
 * weight is dense; a sparse one does not tell the number of its columns. `kind` is an se_kind;
 * other numbers are refused. */
se_status se_recurrent_load(const se_file* file, const char* name, int kind, int64_t input_size,
                            se_recurrent** network);
void se_recurrent_free(se_recurrent* network);
int64_t se_recurrent_input_size(const se_recurrent* network);
int64_t se_recurrent_hidden_size(const se_recurrent* network);
int64_t se_recurrent_layers(const se_recurrent* network);

/* Runs a network over whole sequences.
 *
 *   - x: [steps, batch, input_size].
 *   - h: [layers, batch, hidden_size], the states before and, on return, behind the sequence; or
 *     NULL, for zeros before that are not wanted behind.
 *   - c: the same for an LSTM; NULL exactly where h is, and for any other network.
 *   - y: [steps, batch, hidden_size], written; overlaps nothing.
 *
 * An episode begins with zeros: set h, and c of an LSTM, to zeros (memset) before the call that its
 * first step is in. For some sequences of a batch, set their rows of each layer to zeros. */
se_status se_recurrent_forward(const se_recurrent* network, const float* x, int64_t steps,
                               int64_t batch, float* h, float* c, float* y);

/* Takes one time step: se_recurrent_forward() of one step, for streams. */
se_status se_recurrent_step(const se_recurrent* network, const float* x, int64_t batch, float* h,
                            float* c, float* y);

/* Loads a SparseLinear or torch.nn.Linear; `in_features` may be 0 where the weight is dense. */
se_status se_linear_load(const se_file* file, const char* name, int64_t in_features,
                         se_linear** layer);
void se_linear_free(se_linear* layer);
int64_t se_linear_in_features(const se_linear* layer);
int64_t se_linear_out_features(const se_linear* layer);

/* y = x W^T + b, with x [rows, in_features] and y [rows, out_features], which overlaps nothing. */
se_status se_linear_forward(const se_linear* layer, const float* x, int64_t rows, float* y);

#ifdef __cplusplus
}
#endif

#endif
