/*
 * Frames between the rings of AF_XDP sockets and the frame arena, a batch a call. Receiving needs no
 * system call, sending one for each batch.
 */
#define _GNU_SOURCE
#include "frames.h"
#include "xdp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { MAC_BYTES = 6 };

/* What became of frames that were not delivered: indexes of the `dropped` argument. */
enum { DROPPED_FOREIGN = 0, DROPPED_TRUNCATED = 1 };

struct reception {
    struct frame_batch batch;
    const uint8_t *mac;
    double *dropped;
    /* Frames delivered, and frames that may still be looked at. */
    int received;
    int tries;
};

static bool is_for_us(const uint8_t *frame, const uint8_t *mac)
{
    static const uint8_t broadcast[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    return memcmp(frame, mac, MAC_BYTES) == 0 || memcmp(frame, broadcast, MAC_BYTES) == 0;
}

/*
 * The frame whose first part is at `first`: how many parts it has, or 0 when not all of them have
 * come; and its length.
 */
static uint32_t measure_frame(const struct xdp_ring *ring, uint32_t first, uint32_t end,
                              uint32_t *length_bytes)
{
    *length_bytes = 0;
    for (uint32_t counter = first; counter != end; counter++) {
        const struct xdp_desc *part = xdp_descriptor_at(ring, counter);
        *length_bytes += part->len;
        if ((part->options & XDP_PKT_CONTD) == 0)
            return counter - first + 1;
    }
    return 0;
}

static void deliver(const struct xdp_sockets *sockets, const struct xdp_ring *ring, uint32_t first,
                    uint32_t parts, uint32_t length_bytes, struct reception *reception)
{
    const uint8_t *head = sockets->memory + xdp_descriptor_at(ring, first)->addr;
    if (!is_for_us(head, reception->mac)) {
        reception->dropped[DROPPED_FOREIGN]++;
        return;
    }
    if (length_bytes > (uint32_t)reception->batch.capacity_bytes) {
        reception->dropped[DROPPED_TRUNCATED]++;
        return;
    }
    uint8_t *frame = frame_batch_at(&reception->batch, reception->received);
    for (uint32_t counter = first; counter != first + parts; counter++) {
        const struct xdp_desc *part = xdp_descriptor_at(ring, counter);
        memcpy(frame, sockets->memory + part->addr, part->len);
        frame += part->len;
    }
    reception->batch.lengths[reception->received++] = (int32_t)length_bytes;
}

/* Takes frames of one queue and gives their chunks back to the kernel. */
static void receive_from(const struct xdp_sockets *sockets, struct xdp_queue *queue,
                         struct reception *reception)
{
    struct xdp_ring *ring = &queue->receive;
    struct xdp_ring *fill = &queue->fill;
    uint32_t end = xdp_load(ring->producer);
    uint32_t next = *ring->consumer;
    if (next == end)
        return;
    uint32_t filled = *fill->producer;
    for (; reception->tries > 0 && reception->received < reception->batch.count;
         reception->tries--) {
        uint32_t length_bytes;
        uint32_t parts = measure_frame(ring, next, end, &length_bytes);
        if (parts == 0)
            break;
        deliver(sockets, ring, next, parts, length_bytes, reception);
        for (; parts > 0; parts--) {
            uint64_t address = xdp_descriptor_at(ring, next++)->addr;
            *xdp_address_at(fill, filled++) = address & ~(uint64_t)(XDP_CHUNK_BYTES - 1);
        }
    }
    xdp_store(ring->consumer, next);
    xdp_store(fill->producer, filled);
    /* A driver that had run out of chunks waits to be told. */
    if (xdp_needs_wakeup(fill))
        recvfrom(queue->descriptor, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/*
 * xdpReceive(sockets, arena, offsets, lengths, count, capacityBytes, mac, dropped): as packetReceive,
 * but never fails, and only frames to the MAC or to everybody count; how many others and how many
 * too long ones there were is added to dropped[0] and dropped[1]. Looks at no more than
 * FRAME_BATCH_MAXIMUM frames beyond `count`, so that a flood of foreign ones cannot hold the event
 * loop.
 */
static napi_value xdp_receive(napi_env env, napi_callback_info info)
{
    napi_value arguments[8];
    shim_arguments(env, info, 8, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    struct reception reception = {0};
    size_t mac_bytes, dropped_bytes;
    if (!frame_batch_of(env, arguments + 1, 0, shim_int32(env, arguments[4]),
                        shim_int32(env, arguments[5]), &reception.batch))
        return shim_misuse(env, "xdpReceive: a frame lies outside the arena");
    reception.mac = shim_bytes(env, arguments[6], &mac_bytes);
    reception.dropped = (double *)(void *)shim_bytes(env, arguments[7], &dropped_bytes);
    if (mac_bytes < MAC_BYTES || dropped_bytes < 2 * sizeof reception.dropped[0])
        return shim_misuse(env, "xdpReceive: needs a MAC and two counters");

    reception.tries = reception.batch.count + FRAME_BATCH_MAXIMUM;
    for (int turn = 0; turn < sockets->queue_count; turn++) {
        int number = (sockets->next_queue + turn) % sockets->queue_count;
        receive_from(sockets, &sockets->queues[number], &reception);
    }
    if (sockets->queue_count > 1)
        sockets->next_queue = (sockets->next_queue + 1) % sockets->queue_count;
    return shim_number(env, reception.received);
}

/* Takes back the chunks whose frames have been sent. */
static void reap(struct xdp_sockets *sockets)
{
    struct xdp_ring *ring = &sockets->queues[0].completion;
    uint32_t end = xdp_load(ring->producer);
    uint32_t next = *ring->consumer;
    for (; next != end; next++) {
        uint64_t chunk = *xdp_address_at(ring, next) / XDP_CHUNK_BYTES;
        sockets->free_chunks[sockets->free_count++] = (uint32_t)chunk;
    }
    xdp_store(ring->consumer, next);
}

/* Sends what waits in the transmit ring. Returns how many parts the kernel has not taken. */
static uint32_t kick(struct xdp_sockets *sockets)
{
    struct xdp_queue *queue = &sockets->queues[0];
    struct xdp_ring *ring = &queue->transmit;
    uint32_t end = *ring->producer;
    uint32_t waiting = end - xdp_load(ring->consumer);
    while (waiting > 0 && xdp_needs_wakeup(ring)) {
        int error = sendto(queue->descriptor, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? errno : 0;
        uint32_t before = waiting;
        waiting = end - xdp_load(ring->consumer);
        /* The interface had no room and has dropped the frame that it was given last. */
        if (error == EBUSY && waiting < before)
            sockets->send_drops++;
        /* A driver goes on by itself; in copy mode a call sends some, and says to come again. */
        if (sockets->zero_copy || waiting == before)
            break;
    }
    return waiting;
}

/* Puts a frame into free chunks and these into the ring, which have room for it. */
static void queue_frame(struct xdp_sockets *sockets, const uint8_t *frame, uint32_t length_bytes,
                        uint32_t *producer)
{
    struct xdp_ring *ring = &sockets->queues[0].transmit;
    while (length_bytes > 0) {
        uint32_t part_bytes = length_bytes < XDP_CHUNK_BYTES ? length_bytes : XDP_CHUNK_BYTES;
        uint64_t address =
            (uint64_t)sockets->free_chunks[--sockets->free_count] * XDP_CHUNK_BYTES;
        memcpy(sockets->memory + address, frame, part_bytes);
        frame += part_bytes;
        length_bytes -= part_bytes;
        *xdp_descriptor_at(ring, (*producer)++) = (struct xdp_desc){
            .addr = address,
            .len = part_bytes,
            .options = length_bytes > 0 ? XDP_PKT_CONTD : 0,
        };
    }
}

/*
 * xdpSend(sockets, arena, offsets, lengths, first, count, waiting): copies the frames with the
 * indexes first … first + count - 1 to the transmit ring, in order, and has them sent. Returns how
 * many there was room for, or -ENOBUFS when there was none, or -EMSGSIZE when the first is too long
 * for this kernel. waiting[0] becomes how many parts of frames the kernel has not taken yet: unless
 * it is 0, xdpKick has to be called later.
 */
static napi_value xdp_send(napi_env env, napi_callback_info info)
{
    napi_value arguments[7];
    shim_arguments(env, info, 7, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    struct frame_batch batch;
    if (!frame_batch_of(env, arguments + 1, shim_int32(env, arguments[4]),
                        shim_int32(env, arguments[5]), 0, &batch))
        return shim_misuse(env, "xdpSend: a frame lies outside the arena");
    size_t waiting_bytes;
    int32_t *waiting = (int32_t *)(void *)shim_bytes(env, arguments[6], &waiting_bytes);
    if (waiting_bytes < sizeof waiting[0])
        return shim_misuse(env, "xdpSend: needs a counter");

    struct xdp_ring *ring = &sockets->queues[0].transmit;
    reap(sockets);
    uint32_t producer = *ring->producer;
    uint32_t room = ring->mask + 1 - (producer - xdp_load(ring->consumer));
    if (room > sockets->free_count)
        room = sockets->free_count;
    int sent = 0;
    int error = ENOBUFS;
    while (sent < batch.count) {
        uint32_t length_bytes = (uint32_t)batch.lengths[sent];
        uint32_t parts = (length_bytes + XDP_CHUNK_BYTES - 1) / XDP_CHUNK_BYTES;
        if (parts == 0 || (parts > 1 && !sockets->multi_buffer)) {
            error = EMSGSIZE;
            break;
        }
        if (parts > room)
            break;
        queue_frame(sockets, frame_batch_at(&batch, sent), length_bytes, &producer);
        room -= parts;
        sent++;
    }
    xdp_store(ring->producer, producer);
    waiting[0] = (int32_t)kick(sockets);
    return shim_number(env, sent > 0 ? sent : -error);
}

/* xdpKick(sockets): has sent what waits in the transmit ring; returns how many frames still wait. */
static napi_value xdp_kick(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    reap(sockets);
    const struct xdp_ring *ring = &sockets->queues[0].transmit;
    uint32_t end = *ring->producer;
    uint32_t frames = 0;
    for (uint32_t next = end - kick(sockets); next != end; next++) {
        if ((xdp_descriptor_at(ring, next)->options & XDP_PKT_CONTD) == 0)
            frames++;
    }
    return shim_number(env, frames);
}

void shim_register_xdp_frames(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "xdpReceive", xdp_receive);
    shim_export_function(env, exports, "xdpSend", xdp_send);
    shim_export_function(env, exports, "xdpKick", xdp_kick);
}
