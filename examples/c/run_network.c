/* Runs a recurrent network of a safetensors file over a sequence, without torch and Python.
 *
 *     cc examples/c/run_network.c $(sparse-engine --c-flags) -o run_network
 *     ./run_network model.safetensors rnn lstm 64 50 1 <x.f32 >y.f32
 *
 * The arguments are the file, the name of the network in the model ("" for the model itself), what
 * it is (tanh, relu, lstm or gru), the number of inputs (0 asks the file), of steps and of
 * sequences. x comes as raw floats [steps, batch, inputs], and y leaves so. With a further argument
 * N the sequence is also run N times step by step, and the median microseconds per step are written
 * to stderr.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sparse_engine.h"

static int report(se_status status) {
  if (status) fprintf(stderr, "error %d: %s\n", (int)status, se_last_error());
  return status;
}

static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

int main(int argc, char** argv) {
  static const char* const kinds[] = {"tanh", "relu", "lstm", "gru"};
  se_file* file;
  se_recurrent* network;
  int kind = 0;
  if (argc != 7 && argc != 8) {
    fprintf(stderr, "usage: run_network FILE NAME KIND INPUTS STEPS BATCH [REPEATS] <x >y\n");
    return 64;
  }
  while (kind < 4 && strcmp(kinds[kind], argv[3])) ++kind;
  if (report(se_open(argv[1], &file))) return 1;
  if (report(se_recurrent_load(file, argv[2], kind, atoll(argv[4]), &network))) return 1;
  se_close(file);

  const int64_t steps = atoll(argv[5]), batch = atoll(argv[6]);
  const int64_t inputs = batch * se_recurrent_input_size(network);
  const int64_t outputs = batch * se_recurrent_hidden_size(network);
  const size_t states = (size_t)(se_recurrent_layers(network) * outputs);
  float* x = malloc(sizeof(float) * (size_t)(steps * inputs));
  float* y = malloc(sizeof(float) * (size_t)(steps * outputs));
  if (!x || !y || fread(x, sizeof(float) * (size_t)inputs, (size_t)steps, stdin) != (size_t)steps) {
    fprintf(stderr, "expected %lld floats of x\n", (long long)(steps * inputs));
    return 1;
  }
  if (report(se_recurrent_forward(network, x, steps, batch, NULL, NULL, y))) return 1;
  fwrite(y, sizeof(float) * (size_t)outputs, (size_t)steps, stdout);

  const int repeats = argc == 8 ? atoi(argv[7]) : 0;
  const int64_t measured = repeats * steps;
  double* times = malloc(sizeof(double) * (size_t)(measured + 1));
  for (int r = 0; r < repeats; ++r) {
    float* h = calloc(states, sizeof(float));
    float* c = kind == SE_LSTM ? calloc(states, sizeof(float)) : NULL;
    for (int64_t t = 0; t < steps; ++t) {
      const double start = microseconds();
      if (report(se_recurrent_step(network, x + t * inputs, batch, h, c, y + t * outputs)))
        return 1;
      times[r * steps + t] = microseconds() - start;
    }
    free(h);
    free(c);
  }
  qsort(times, (size_t)measured, sizeof(double), ascending);
  if (measured) fprintf(stderr, "%.2f us per step\n", times[measured / 2]);
  free(times);
  free(x);
  free(y);
  se_recurrent_free(network);
  return 0;
}
