#define _GNU_SOURCE
#include "closed-loop.h"

#include "pattern.h"
#include "reply-ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH_FRAMES = 64,
    LONGEST_SLEEP_MS = 10, /* how often an idle loop looks for requests to send again */
    LOOK_EVERY_NS = 2000,
    TAG_SLOT_BITS = 16,
    TAG_GENERATION_MASK = 0x7fff, /* bit 31 stays clear: the Linux driver's half of the tags */
};

static const uint64_t drain_ns = 3000000000ull;

struct request {
    uint8_t header[SHORTEST_FRAME_BYTES];
    uint8_t *payload;
    uint64_t lba;
    uint64_t first_sent_ns;
    uint64_t last_sent_ns;
    uint32_t tag;
    uint16_t initiator;
    bool is_write;
    bool under_way;
};

struct loop {
    const struct packet_socket *socket;
    const struct load_plan *plan;
    struct load_result *result;
    const uint8_t *server_mac;

    struct request *requests;
    unsigned request_count;
    unsigned under_way;
    uint64_t issued;
    uint64_t random_state;
    uint64_t started_ns;
    uint64_t measure_from_ns;
    uint64_t measure_until_ns;
    uint64_t next_timeout_check_ns;
    uint64_t now_ns;

    struct mmsghdr outgoing[BATCH_FRAMES];
    struct iovec outgoing_vectors[BATCH_FRAMES][2];
    struct request *outgoing_requests[BATCH_FRAMES];
    unsigned outgoing_count;

    struct reply_ring ring;
};

uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Sends what has been queued. A frame that the kernel has no buffer for is left to the timeout. */
static void send_queued(struct loop *loop)
{
    if (loop->outgoing_count == 0)
        return;
    /* The loop's own clock goes on too: the first replies may be taken before it is read again. */
    loop->now_ns = monotonic_ns();
    for (unsigned index = 0; index < loop->outgoing_count; index++) {
        struct request *request = loop->outgoing_requests[index];
        request->last_sent_ns = loop->now_ns;
        if (request->first_sent_ns == 0)
            request->first_sent_ns = loop->now_ns;
    }
    for (unsigned sent = 0; sent < loop->outgoing_count;) {
        int accepted = sendmmsg(loop->socket->descriptor, loop->outgoing + sent,
                                loop->outgoing_count - sent, 0);
        if (accepted < 0 && errno == ENOBUFS)
            accepted = 1;
        if (accepted < 0 && errno != EINTR)
            refuse("sendmmsg: %s", strerror(errno));
        if (accepted > 0)
            sent += (unsigned)accepted;
    }
    loop->outgoing_count = 0;
}

static void queue_request(struct loop *loop, struct request *request)
{
    uint32_t generation = (request->tag >> TAG_SLOT_BITS) + 1;
    uint32_t index = (uint32_t)(request - loop->requests);
    request->tag = (generation & TAG_GENERATION_MASK) << TAG_SLOT_BITS | index;
    put_u32(request->header + OFFSET_TAG, request->tag);

    struct iovec *vectors = loop->outgoing_vectors[loop->outgoing_count];
    vectors[0].iov_base = request->header;
    vectors[0].iov_len = request->is_write ? ATA_HEADER_BYTES : SHORTEST_FRAME_BYTES;
    vectors[1].iov_base = request->payload;
    vectors[1].iov_len = (size_t)loop->plan->sectors * SECTOR_BYTES;
    loop->outgoing[loop->outgoing_count].msg_hdr.msg_iovlen = request->is_write ? 2 : 1;
    loop->outgoing_requests[loop->outgoing_count] = request;
    if (++loop->outgoing_count == BATCH_FRAMES)
        send_queued(loop);
}

static bool next_is_write(struct loop *loop)
{
    unsigned read_percent = loop->plan->read_percent;
    if (read_percent == 100 || read_percent == 0)
        return read_percent == 0;
    loop->random_state = scramble_64(loop->random_state);
    return loop->random_state % 100 >= read_percent;
}

static bool may_issue(const struct loop *loop)
{
    bool counted_out =
        loop->plan->most_operations != 0 && loop->issued >= loop->plan->most_operations;
    return !counted_out && loop->now_ns < loop->measure_until_ns;
}

static void issue_next(struct loop *loop, struct request *request)
{
    const struct load_plan *plan = loop->plan;
    uint64_t block = visit_order(loop->issued++, plan->blocks, plan->random, plan->seed);
    request->lba = (plan->first_block + block) * plan->sectors;
    request->is_write = next_is_write(loop);
    request->first_sent_ns = 0;
    request->under_way = true;
    loop->under_way++;

    put_lba(request->header, request->lba);
    request->header[OFFSET_ATA_FLAGS] =
        ATA_FLAG_EXTENDED | (request->is_write ? ATA_FLAG_WRITE : 0);
    request->header[OFFSET_ATA_COMMAND] = request->is_write ? ATA_WRITE_EXT : ATA_READ_EXT;
    if (request->is_write && plan->verify)
        pattern_fill(request->payload, request->lba, plan->sectors, plan->seed);
    else if (request->is_write)
        pattern_stamp(request->payload, plan->sectors,
                      plan->contents == 0 ? loop->issued : loop->issued % plan->contents);
    queue_request(loop, request);
}

static void note_failure(struct loop *loop, const uint8_t *frame)
{
    struct load_result *result = loop->result;
    if (result->failed_operations++ == 0) {
        bool aoe_error = frame[OFFSET_VERSION_FLAGS] & AOE_FLAG_ERROR;
        result->first_failure_status = aoe_error ? 0 : frame[OFFSET_ATA_COMMAND];
        result->first_failure_error =
            aoe_error ? frame[OFFSET_AOE_ERROR] : frame[OFFSET_ATA_ERROR];
    }
}

static void check_reply(struct loop *loop, const struct request *request, const uint8_t *frame,
                        size_t frame_bytes)
{
    const struct load_plan *plan = loop->plan;
    struct load_result *result = loop->result;
    size_t data_bytes = request->is_write ? 0 : (size_t)plan->sectors * SECTOR_BYTES;
    if ((frame[OFFSET_VERSION_FLAGS] & AOE_FLAG_ERROR) ||
        (frame[OFFSET_ATA_COMMAND] & ATA_STATUS_FAILED) ||
        frame_bytes < ATA_HEADER_BYTES + data_bytes) {
        note_failure(loop, frame);
        return;
    }
    if (!plan->verify || request->is_write)
        return;
    unsigned wrong = pattern_wrong_sectors(frame + ATA_HEADER_BYTES, request->lba, plan->sectors,
                                           plan->seed);
    if (wrong != 0 && result->wrong_sectors == 0)
        result->first_wrong_lba = request->lba;
    result->wrong_sectors += wrong;
}

static struct request *request_of_reply(struct loop *loop, const uint8_t *frame, size_t frame_bytes)
{
    if (frame_bytes < ATA_HEADER_BYTES || !(frame[OFFSET_VERSION_FLAGS] & AOE_FLAG_RESPONSE) ||
        frame[OFFSET_COMMAND] != AOE_COMMAND_ATA)
        return NULL;
    uint32_t tag = get_u32(frame + OFFSET_TAG);
    uint32_t index = tag & ((1u << TAG_SLOT_BITS) - 1);
    if (index >= loop->request_count)
        return NULL;
    struct request *request = &loop->requests[index];
    return request->under_way && request->tag == tag ? request : NULL;
}

static void take_reply(struct loop *loop, const uint8_t *frame, size_t frame_bytes)
{
    struct load_result *result = loop->result;
    struct request *request = request_of_reply(loop, frame, frame_bytes);
    if (request == NULL) {
        result->unmatched_replies++;
        return;
    }
    check_reply(loop, request, frame, frame_bytes);
    request->under_way = false;
    loop->under_way--;
    result->all_operations++;
    if (loop->now_ns >= loop->measure_from_ns && loop->now_ns < loop->measure_until_ns) {
        histogram_record(&result->latency, loop->now_ns - request->first_sent_ns);
        result->operations++;
        result->reads += !request->is_write;
        result->initiator_operations[request->initiator]++;
    }
    if (may_issue(loop))
        issue_next(loop, request);
}

static void send_again(struct loop *loop)
{
    if (loop->now_ns < loop->next_timeout_check_ns)
        return;
    loop->next_timeout_check_ns = loop->now_ns + LONGEST_SLEEP_MS * 1000000ull;
    for (unsigned index = 0; index < loop->request_count; index++) {
        struct request *request = &loop->requests[index];
        if (!request->under_way || request->first_sent_ns == 0 ||
            loop->now_ns < request->last_sent_ns + loop->plan->timeout_ns)
            continue;
        loop->result->retransmits++;
        queue_request(loop, request);
    }
}

static unsigned take_replies(struct loop *loop)
{
    unsigned count = 0;
    size_t frame_bytes;
    const uint8_t *frame;
    loop->now_ns = monotonic_ns();
    while (count < BATCH_FRAMES && (frame = reply_ring_peek(&loop->ring, &frame_bytes)) != NULL) {
        take_reply(loop, frame, frame_bytes);
        reply_ring_release(&loop->ring);
        count++;
    }
    return count;
}

/* The ring's next slot is left to the processor that writes to it for a moment. */
static void pause_between_looks(struct loop *loop)
{
    uint64_t until_ns = loop->now_ns + LOOK_EVERY_NS;
    do
        loop->now_ns = monotonic_ns();
    while (loop->now_ns < until_ns);
}

/*
 * Waits awake at first: a client on a machine of its own costs the server no wake-up, and a sleeping
 * one on the same machine would, by an interrupt to another processor for each batch of replies.
 */
static void wait_for_replies(struct loop *loop)
{
    size_t frame_bytes;
    uint64_t waiting_from_ns = loop->now_ns;
    do
        pause_between_looks(loop);
    while (reply_ring_peek(&loop->ring, &frame_bytes) == NULL &&
           loop->now_ns < waiting_from_ns + loop->plan->spin_ns);
    if (reply_ring_peek(&loop->ring, &frame_bytes) == NULL)
        reply_ring_sleep(&loop->ring, LONGEST_SLEEP_MS);
    loop->now_ns = monotonic_ns();
    loop->result->idle_ns += loop->now_ns - waiting_from_ns;
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL)
        refuse("out of memory");
    return memory;
}

static void prepare_requests(struct loop *loop)
{
    const struct load_plan *plan = loop->plan;
    size_t data_bytes = (size_t)plan->sectors * SECTOR_BYTES;
    loop->request_count = plan->initiators * plan->window;
    loop->requests = allocate(loop->request_count, sizeof *loop->requests);
    for (unsigned index = 0; index < loop->request_count; index++) {
        struct request *request = &loop->requests[index];
        uint8_t source[MAC_BYTES];
        request->initiator = (uint16_t)(index % plan->initiators);
        memcpy(source, loop->socket->mac, MAC_BYTES);
        if (request->initiator != 0) {
            source[0] |= 0x02; /* locally administered */
            source[MAC_BYTES - 1] ^= (uint8_t)request->initiator;
        }
        put_aoe_header(request->header, loop->server_mac, source, plan->shelf, plan->slot,
                       AOE_COMMAND_ATA, 0);
        request->header[OFFSET_SECTOR_COUNT] = (uint8_t)plan->sectors;
        request->payload = allocate(1, data_bytes);
        pattern_fill(request->payload, index, plan->sectors, plan->seed);
    }
}

static void prepare_batches(struct loop *loop)
{
    for (unsigned index = 0; index < BATCH_FRAMES; index++)
        loop->outgoing[index].msg_hdr.msg_iov = loop->outgoing_vectors[index];
    /* Unless the data is looked at, the kernel is spared copying it. */
    loop->ring = reply_ring_open(loop->socket,
                                 loop->plan->verify ? LONGEST_FRAME_BYTES : ATA_HEADER_BYTES,
                                 loop->request_count);
}

void run_closed_loop(const struct packet_socket *socket, const uint8_t *server_mac,
                     const struct load_plan *plan, struct load_result *result)
{
    static struct loop loop;
    loop = (struct loop){.socket = socket, .plan = plan, .result = result,
                         .server_mac = server_mac, .random_state = plan->seed};
    prepare_requests(&loop);
    prepare_batches(&loop);

    loop.started_ns = loop.now_ns = monotonic_ns();
    loop.measure_from_ns = loop.started_ns + plan->warm_up_ns;
    loop.measure_until_ns = loop.measure_from_ns + plan->measured_ns;
    for (unsigned index = 0; index < loop.request_count && may_issue(&loop); index++)
        issue_next(&loop, &loop.requests[index]);
    send_queued(&loop);

    uint64_t give_up_ns = loop.measure_until_ns + drain_ns;
    while (loop.under_way > 0 && loop.now_ns < give_up_ns) {
        if (take_replies(&loop) == 0)
            wait_for_replies(&loop);
        send_again(&loop);
        send_queued(&loop);
    }
    uint64_t ended_ns =
        loop.now_ns < loop.measure_until_ns ? loop.now_ns : loop.measure_until_ns;
    result->measured_ns = ended_ns > loop.measure_from_ns ? ended_ns - loop.measure_from_ns : 0;
    result->elapsed_ns = loop.now_ns - loop.started_ns;
    result->unanswered = loop.under_way;
}
