/*
 * TAP interfaces: one read or write is one frame, so a batch is a loop here and one call for
 * JavaScript. A bridge floods, so what is not for us is dropped before it costs a frame.
 */
#define _GNU_SOURCE
#include "frames.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAC_BYTES = 6, ETHER_TYPE_OFFSET = 12, ETHERNET_HEADER_BYTES = 14 };

/* What became of frames that were not delivered: indexes of the `dropped` argument. */
enum { DROPPED_FOREIGN = 0, DROPPED_TRUNCATED = 1 };

static bool is_for_us(const uint8_t *frame, ssize_t length_bytes, int ether_type,
                      const uint8_t *mac)
{
    static const uint8_t broadcast[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (length_bytes < ETHERNET_HEADER_BYTES)
        return false;
    if (((frame[ETHER_TYPE_OFFSET] << 8) | frame[ETHER_TYPE_OFFSET + 1]) != ether_type)
        return false;
    return memcmp(frame, mac, MAC_BYTES) == 0 || memcmp(frame, broadcast, MAC_BYTES) == 0;
}

/*
 * tapReceive(descriptor, arena, offsets, lengths, count, capacityBytes, etherType, mac, dropped):
 * as packetReceive, but only frames of the EtherType to the MAC or to everybody count; how many
 * others and how many too long ones there were is added to dropped[0] and dropped[1]. Reads at most
 * FRAME_BATCH_MAXIMUM frames more than `count`, so that a flood of foreign ones cannot hold the
 * event loop.
 */
static napi_value tap_receive(napi_env env, napi_callback_info info)
{
    napi_value arguments[9];
    shim_arguments(env, info, 9, arguments);
    struct frame_batch batch;
    size_t mac_bytes, dropped_bytes;
    const uint8_t *mac = shim_bytes(env, arguments[7], &mac_bytes);
    double *dropped = (double *)(void *)shim_bytes(env, arguments[8], &dropped_bytes);
    if (!frame_batch_of(env, arguments + 1, 0, shim_int32(env, arguments[4]),
                        shim_int32(env, arguments[5]), &batch))
        return shim_misuse(env, "tapReceive: a frame lies outside the arena");
    if (mac_bytes < MAC_BYTES || dropped_bytes < 2 * sizeof dropped[0])
        return shim_misuse(env, "tapReceive: needs a MAC and two counters");

    int descriptor = shim_int32(env, arguments[0]);
    int ether_type = shim_int32(env, arguments[6]);
    int received = 0;
    for (int tries = batch.count + FRAME_BATCH_MAXIMUM; tries > 0 && received < batch.count;
         tries--) {
        /* A TAP cuts a frame that does not fit and does not say so: one octet more tells. */
        uint8_t excess;
        uint8_t *frame = frame_batch_at(&batch, received);
        struct iovec parts[2] = {{frame, (size_t)batch.capacity_bytes}, {&excess, 1}};
        ssize_t length_bytes = readv(descriptor, parts, 2);
        if (length_bytes < 0) {
            if (received == 0)
                return shim_number(env, -errno);
            break;
        }
        if (!is_for_us(frame, length_bytes, ether_type, mac)) {
            dropped[DROPPED_FOREIGN]++;
        } else if (length_bytes > batch.capacity_bytes) {
            dropped[DROPPED_TRUNCATED]++;
        } else {
            batch.lengths[received++] = (int32_t)length_bytes;
        }
    }
    return shim_number(env, received);
}

/* tapSend(descriptor, arena, offsets, lengths, first, count): as packetSend. */
static napi_value tap_send(napi_env env, napi_callback_info info)
{
    napi_value arguments[6];
    shim_arguments(env, info, 6, arguments);
    struct frame_batch batch;
    if (!frame_batch_of(env, arguments + 1, shim_int32(env, arguments[4]),
                        shim_int32(env, arguments[5]), 0, &batch))
        return shim_misuse(env, "tapSend: a frame lies outside the arena");

    int descriptor = shim_int32(env, arguments[0]);
    int sent = 0;
    while (sent < batch.count) {
        ssize_t written =
            write(descriptor, frame_batch_at(&batch, sent), (size_t)batch.lengths[sent]);
        if (written < 0)
            return shim_number(env, sent > 0 ? sent : -errno);
        sent++;
    }
    return shim_number(env, sent);
}

void shim_register_tap(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "tapReceive", tap_receive);
    shim_export_function(env, exports, "tapSend", tap_send);
}
