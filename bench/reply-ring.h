/*
 * A receive ring (packet_mmap, TPACKET_V2) on a packet socket: the kernel puts frames into memory
 * that the program sees, so a reply costs the generator no system call.
 */
#ifndef AOED_BENCH_REPLY_RING_H
#define AOED_BENCH_REPLY_RING_H

#include "packet-socket.h"

struct reply_ring {
    uint8_t *memory;
    unsigned slot_bytes;
    unsigned slot_count;
    unsigned next_slot;
    int descriptor;
};

/*
 * A ring with room for the replies to `frames_under_way` requests, of which at most `kept_bytes` are
 * copied. Frames that were queued on the socket before are lost.
 */
struct reply_ring reply_ring_open(const struct packet_socket *socket, unsigned kept_bytes,
                                  unsigned frames_under_way);

/* The oldest frame, with its length on the wire, or NULL. It stays valid until it is released. */
const uint8_t *reply_ring_peek(const struct reply_ring *ring, size_t *frame_bytes);
void reply_ring_release(struct reply_ring *ring);

/* Sleeps until there is a frame or the time is over. */
void reply_ring_sleep(const struct reply_ring *ring, int timeout_ms);

#endif
