/* Reading a batch of frames from typed arrays, with the one check that keeps it in the arena. */
#include "frames.h"

bool frame_batch_of(napi_env env, const napi_value *arguments, int first, int count,
                    int capacity_bytes, struct frame_batch *batch)
{
    size_t arena_bytes, offsets_bytes, lengths_bytes;
    batch->arena = shim_bytes(env, arguments[0], &arena_bytes);
    double *offsets = (double *)(void *)shim_bytes(env, arguments[1], &offsets_bytes);
    int32_t *lengths = (int32_t *)(void *)shim_bytes(env, arguments[2], &lengths_bytes);
    if (batch->arena == NULL || offsets == NULL || lengths == NULL || first < 0 || count < 0)
        return false;

    batch->count = count < FRAME_BATCH_MAXIMUM ? count : FRAME_BATCH_MAXIMUM;
    size_t end = (size_t)first + (size_t)batch->count;
    if (end > offsets_bytes / sizeof offsets[0] || end > lengths_bytes / sizeof lengths[0])
        return false;

    batch->offsets = offsets + first;
    batch->lengths = lengths + first;
    batch->capacity_bytes = capacity_bytes;
    for (int index = 0; index < batch->count; index++) {
        double offset = batch->offsets[index];
        double length = capacity_bytes > 0 ? capacity_bytes : batch->lengths[index];
        if (!(offset >= 0 && length >= 0 && offset + length <= (double)arena_bytes))
            return false;
    }
    return true;
}
