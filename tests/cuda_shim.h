// Enough of CUDA to run a kernel on the host, one thread at a time.
#include <math.h>

#define __global__
#define __device__

static struct Dim {
    unsigned int x;
} gridDim, blockDim, blockIdx, threadIdx;

// The kernel that is called next runs as this thread of a grid.
extern "C" void become(
        unsigned int blocks, unsigned int threads, unsigned int block, unsigned int thread) {
    gridDim.x = blocks;
    blockDim.x = threads;
    blockIdx.x = block;
    threadIdx.x = thread;
}
