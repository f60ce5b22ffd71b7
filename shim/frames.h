/* A batch of frames in the arena, as the ports describe it with typed arrays. */
#ifndef AOED_FRAMES_H
#define AOED_FRAMES_H

#include "shim.h"

/* Bounds what a call keeps on the stack and how long it holds the event loop. */
#define FRAME_BATCH_MAXIMUM 64

struct frame_batch {
    uint8_t *arena;
    /* Of each frame: where it begins in the arena, and its length. */
    const double *offsets;
    int32_t *lengths;
    int count;
    int capacity_bytes;
};

/*
 * Reads (arena, offsets, lengths) from `arguments` and checks that the frames first … first + count
 * - 1 lie in the arena; with a capacity of 0 (sending) each frame is as long as `lengths` says. The
 * count is cut to FRAME_BATCH_MAXIMUM.
 */
bool frame_batch_of(napi_env env, const napi_value *arguments, int first, int count,
                    int capacity_bytes, struct frame_batch *batch);

static inline uint8_t *frame_batch_at(const struct frame_batch *batch, int index)
{
    return batch->arena + (size_t)batch->offsets[index];
}

#endif
