/*
 * The closed loop: every simulated initiator keeps `window` requests under way, and each reply makes
 * room for the next request. A request without an answer is sent again, under a new tag as the Linux
 * driver does, and counted.
 */
#ifndef AOED_BENCH_CLOSED_LOOP_H
#define AOED_BENCH_CLOSED_LOOP_H

#include "histogram.h"
#include "packet-socket.h"

enum { MOST_INITIATORS = 64, MOST_SLOTS = 1 << 16 };

struct load_plan {
    uint16_t shelf;
    uint8_t slot;
    unsigned initiators;
    unsigned window;
    unsigned sectors;
    unsigned read_percent;
    bool random;
    bool verify;
    uint64_t seed;
    uint64_t contents; /* what a place in the window writes in turn; 0: nothing twice */
    uint64_t first_block;
    uint64_t blocks;
    uint64_t most_operations; /* 0: bounded by time alone */
    uint64_t warm_up_ns;
    uint64_t measured_ns;
    uint64_t timeout_ns;
    uint64_t spin_ns; /* how long to wait for a reply before going to sleep */
};

struct load_result {
    struct histogram latency;
    uint64_t operations; /* within the measured time */
    uint64_t reads;
    uint64_t all_operations; /* with the warm-up and what was under way at the end */
    uint64_t measured_ns;
    uint64_t elapsed_ns;
    uint64_t idle_ns; /* of elapsed_ns: nothing to do but wait */
    uint64_t retransmits;
    uint64_t unmatched_replies;
    uint64_t failed_operations;
    uint8_t first_failure_status;
    uint8_t first_failure_error;
    uint64_t wrong_sectors;
    uint64_t first_wrong_lba;
    uint64_t unanswered; /* given up at the end */
    uint64_t initiator_operations[MOST_INITIATORS];
};

uint64_t monotonic_ns(void);

void run_closed_loop(const struct packet_socket *socket, const uint8_t *server_mac,
                     const struct load_plan *plan, struct load_result *result);

#endif
