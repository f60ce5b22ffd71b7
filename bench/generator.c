/*
 * The load of the benchmark: a closed loop of AoE reads and writes against one target, measured, on
 * standard output as one JSON object. It is built to cost less than any server: batches of system
 * calls, no copy of data that nobody looks at.
 *
 *   generator load --interface IF [--window 64] [--sectors 2] …   see usage()
 *   generator image PATH SECTORS [SEED]     an image that --verify --seed SEED accepts
 *   generator evict PATH                    writes an image's pages back and drops them
 */
#define _GNU_SOURCE
#include "closed-loop.h"
#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const uint64_t ns_per_ms = 1000000;

struct settings {
    const char *interface_name;
    uint64_t wait_ms;
    uint64_t span_sectors; /* 0: the whole target */
    bool one_pass;
    struct load_plan plan;
};

struct server {
    uint8_t mac[MAC_BYTES];
    unsigned buffer_count;
    unsigned most_sectors;
    uint64_t size_sectors;
};

static __attribute__((noreturn)) void usage(void)
{
    refuse("usage: generator load --interface IF [--shelf 1] [--slot 0] [--window 1]\n"
           "         [--sectors 2] [--read-percent 100] [--random] [--seed 1] [--verify]\n"
           "         [--contents N] [--initiators 1] [--span-sectors N] [--operations N | --one-pass]\n"
           "         [--seconds 1] [--warm-up 0] [--timeout-ms 250] [--spin-us 100] [--wait-ms 10000]\n"
           "       generator image PATH SECTORS [SEED]\n"
           "       generator evict PATH");
}

static uint64_t number_argument(const char *text, const char *name, uint64_t lowest,
                                uint64_t highest)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno != 0 || *text == 0 || *end != 0 || number < lowest || number > highest)
        refuse("--%s %s: a number from %" PRIu64 " to %" PRIu64, name, text, lowest, highest);
    return number;
}

static uint64_t seconds_argument(const char *text, const char *name)
{
    char *end;
    double seconds = strtod(text, &end);
    if (*text == 0 || *end != 0 || !(seconds >= 0 && seconds <= 86400))
        refuse("--%s %s: seconds", name, text);
    return (uint64_t)(seconds * 1e9);
}

static const struct option known_options[] = {
    {"interface", required_argument, NULL, 'i'},    {"shelf", required_argument, NULL, 'h'},
    {"slot", required_argument, NULL, 'l'},         {"window", required_argument, NULL, 'w'},
    {"sectors", required_argument, NULL, 'n'},      {"read-percent", required_argument, NULL, 'r'},
    {"random", no_argument, NULL, 'R'},             {"seed", required_argument, NULL, 's'},
    {"verify", no_argument, NULL, 'v'},             {"initiators", required_argument, NULL, 'm'},
    {"span-sectors", required_argument, NULL, 'p'}, {"operations", required_argument, NULL, 'o'},
    {"seconds", required_argument, NULL, 't'},      {"warm-up", required_argument, NULL, 'u'},
    {"timeout-ms", required_argument, NULL, 'x'},   {"wait-ms", required_argument, NULL, 'y'},
    {"spin-us", required_argument, NULL, 'z'},      {"one-pass", no_argument, NULL, '1'},
    {"contents", required_argument, NULL, 'c'},
    {0},
};

static struct settings read_settings(int argument_count, char **arguments)
{
    struct settings settings = {.wait_ms = 10000};
    struct load_plan *plan = &settings.plan;
    *plan = (struct load_plan){.shelf = 1, .initiators = 1, .window = 1, .sectors = 2,
                               .read_percent = 100, .seed = 1, .measured_ns = 1000000000,
                               .timeout_ns = 250 * ns_per_ms, .spin_ns = 100000};
    int option, position = -1;
    while ((option = getopt_long(argument_count, arguments, "", known_options, &position)) != -1) {
        const char *name = position < 0 ? "" : known_options[position].name;
        switch (option) {
        case 'i': settings.interface_name = optarg; break;
        case 'h': plan->shelf = (uint16_t)number_argument(optarg, name, 0, 0xfffe); break;
        case 'l': plan->slot = (uint8_t)number_argument(optarg, name, 0, 0xfe); break;
        case 'w': plan->window = (unsigned)number_argument(optarg, name, 1, 1024); break;
        case 'n': plan->sectors = (unsigned)number_argument(optarg, name, 1, 255); break;
        case 'r': plan->read_percent = (unsigned)number_argument(optarg, name, 0, 100); break;
        case 'R': plan->random = true; break;
        case 's': plan->seed = number_argument(optarg, name, 0, UINT64_MAX); break;
        case 'v': plan->verify = true; break;
        case '1': settings.one_pass = true; break;
        case 'm':
            plan->initiators = (unsigned)number_argument(optarg, name, 1, MOST_INITIATORS);
            break;
        case 'c': plan->contents = number_argument(optarg, name, 1, 1 << 20); break;
        case 'p': settings.span_sectors = number_argument(optarg, name, 1, 1ull << 48); break;
        case 'o': plan->most_operations = number_argument(optarg, name, 1, UINT64_MAX); break;
        case 't': plan->measured_ns = seconds_argument(optarg, name); break;
        case 'u': plan->warm_up_ns = seconds_argument(optarg, name); break;
        case 'x': plan->timeout_ns = ns_per_ms * number_argument(optarg, name, 1, 600000); break;
        case 'y': settings.wait_ms = number_argument(optarg, name, 0, 600000); break;
        case 'z': plan->spin_ns = 1000 * number_argument(optarg, name, 0, 1000000); break;
        default: usage();
        }
    }
    if (settings.interface_name == NULL || optind != argument_count)
        usage();
    return settings;
}

/* Asks until an answer to `tag` comes or the time is over; its length, or 0. */
static size_t ask(const struct packet_socket *socket, const uint8_t *request, uint8_t *reply,
                  size_t reply_bytes, uint64_t wait_ms)
{
    struct timeval wait = {.tv_usec = 20000};
    setsockopt(socket->descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    uint64_t give_up_ns = monotonic_ns() + wait_ms * ns_per_ms;
    do {
        /* An interface that is still coming up refuses frames; it is asked again. */
        (void)!send(socket->descriptor, request, SHORTEST_FRAME_BYTES, 0);
        for (;;) {
            ssize_t length = recv(socket->descriptor, reply, reply_bytes, 0);
            if (length < 0)
                break;
            if (length >= CONFIG_HEADER_BYTES &&
                (reply[OFFSET_VERSION_FLAGS] & AOE_FLAG_RESPONSE) &&
                get_u32(reply + OFFSET_TAG) == get_u32(request + OFFSET_TAG))
                return (size_t)length;
        }
    } while (monotonic_ns() < give_up_ns);
    return 0;
}

static struct server find_server(const struct packet_socket *socket,
                                 const struct settings *settings)
{
    static const uint8_t broadcast[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static uint8_t reply[LONGEST_FRAME_BYTES];
    const struct load_plan *plan = &settings->plan;
    struct server server = {0};

    uint8_t request[SHORTEST_FRAME_BYTES] = {0};
    put_aoe_header(request, broadcast, socket->mac, plan->shelf, plan->slot, AOE_COMMAND_CONFIG,
                   0x7fff0001);
    if (ask(socket, request, reply, sizeof reply, settings->wait_ms) == 0)
        refuse("%u.%u does not answer on %s", plan->shelf, plan->slot, settings->interface_name);
    memcpy(server.mac, reply + OFFSET_SOURCE, MAC_BYTES);
    server.buffer_count = get_u16(reply + OFFSET_BUFFER_COUNT);
    server.most_sectors = reply[OFFSET_MOST_SECTORS] == 0 ? 2 : reply[OFFSET_MOST_SECTORS];

    memset(request, 0, sizeof request);
    put_aoe_header(request, server.mac, socket->mac, plan->shelf, plan->slot, AOE_COMMAND_ATA,
                   0x7fff0002);
    request[OFFSET_SECTOR_COUNT] = 1;
    request[OFFSET_ATA_COMMAND] = ATA_IDENTIFY;
    request[OFFSET_LBA + 3] = 0xa0;
    size_t length = ask(socket, request, reply, sizeof reply, settings->wait_ms);
    if (length < ATA_HEADER_BYTES + SECTOR_BYTES)
        refuse("%u.%u does not answer IDENTIFY DEVICE", plan->shelf, plan->slot);
    for (int octet = 7; octet >= 0; octet--)
        server.size_sectors =
            server.size_sectors << 8 | reply[ATA_HEADER_BYTES + 100 * 2 + octet];
    return server;
}

static double microseconds(uint64_t nanoseconds)
{
    return (double)nanoseconds / 1e3;
}

static double own_cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void print_result(const struct settings *settings, const struct server *server,
                         const struct load_result *result)
{
    const struct load_plan *plan = &settings->plan;
    const struct histogram *latency = &result->latency;
    double seconds = (double)result->measured_ns / 1e9;
    double rate = seconds > 0 ? (double)result->operations / seconds : 0;

    printf("{\"operations\":%" PRIu64 ",\"allOperations\":%" PRIu64 ",\"reads\":%" PRIu64
           ",\"seconds\":%.6f,\"operationsPerSecond\":%.1f,\"bytesPerSecond\":%.0f,",
           result->operations, result->all_operations, result->reads, seconds, rate,
           rate * plan->sectors * SECTOR_BYTES);
    printf("\"latencyUs\":{\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,"
           "\"highest\":%.2f},",
           latency->count == 0 ? 0 : microseconds(latency->sum_ns) / (double)latency->count,
           microseconds(histogram_quantile_ns(latency, 0.5)),
           microseconds(histogram_quantile_ns(latency, 0.9)),
           microseconds(histogram_quantile_ns(latency, 0.99)),
           microseconds(histogram_quantile_ns(latency, 0.999)),
           microseconds(latency->highest_ns));
    printf("\"retransmits\":%" PRIu64 ",\"unmatchedReplies\":%" PRIu64
           ",\"unanswered\":%" PRIu64 ",\"failedOperations\":%" PRIu64
           ",\"firstFailure\":{\"status\":%u,\"error\":%u},",
           result->retransmits, result->unmatched_replies, result->unanswered,
           result->failed_operations, result->first_failure_status, result->first_failure_error);
    printf("\"wrongSectors\":%" PRIu64 ",\"firstWrongLba\":%" PRIu64 ",\"initiatorOperations\":[",
           result->wrong_sectors, result->first_wrong_lba);
    for (unsigned initiator = 0; initiator < plan->initiators; initiator++)
        printf("%s%" PRIu64, initiator == 0 ? "" : ",", result->initiator_operations[initiator]);
    printf("],\"bufferCount\":%u,\"mostSectors\":%u,\"sizeSectors\":%" PRIu64
           ",\"generatorCpuUs\":%.0f,\"generatorIdle\":%.4f}\n",
           server->buffer_count, server->most_sectors, server->size_sectors, own_cpu_us(),
           result->elapsed_ns == 0 ? 0 : (double)result->idle_ns / (double)result->elapsed_ns);
}

static int run_load(int argument_count, char **arguments)
{
    static struct load_result result;
    struct settings settings = read_settings(argument_count, arguments);
    struct load_plan *plan = &settings.plan;
    struct packet_socket socket = packet_socket_open(settings.interface_name);
    struct server server = find_server(&socket, &settings);

    if (plan->sectors > server.most_sectors)
        refuse("%u sectors a request: the server takes %u on this interface", plan->sectors,
               server.most_sectors);
    if (settings.span_sectors == 0 || settings.span_sectors > server.size_sectors)
        settings.span_sectors = server.size_sectors;
    plan->blocks = settings.span_sectors / plan->sectors;
    if (plan->blocks == 0)
        refuse("the target has %" PRIu64 " sectors, less than one request", server.size_sectors);
    if (settings.one_pass)
        plan->most_operations = plan->blocks;
    if (plan->initiators > 1)
        packet_socket_hear_everything(&socket);

    run_closed_loop(&socket, server.mac, plan, &result);
    print_result(&settings, &server, &result);
    return result.wrong_sectors != 0 || result.failed_operations != 0 || result.unanswered != 0;
}

static int write_image(const char *path, uint64_t sectors, uint64_t seed)
{
    enum { CHUNK_SECTORS = 2048 };
    static uint8_t chunk[CHUNK_SECTORS * SECTOR_BYTES];
    FILE *image = fopen(path, "wb");
    if (image == NULL)
        refuse("%s: %s", path, strerror(errno));
    for (uint64_t lba = 0; lba < sectors; lba += CHUNK_SECTORS) {
        uint64_t left = sectors - lba;
        unsigned count = left < CHUNK_SECTORS ? (unsigned)left : CHUNK_SECTORS;
        pattern_fill(chunk, lba, count, seed);
        if (fwrite(chunk, SECTOR_BYTES, count, image) != count)
            refuse("%s: %s", path, strerror(errno));
    }
    if (fclose(image) != 0)
        refuse("%s: %s", path, strerror(errno));
    return 0;
}

/* Works for one file without privileges, and leaves everybody else's cache alone. */
static int evict_image(const char *path)
{
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        refuse("%s: %s", path, strerror(errno));
    if (fsync(descriptor) < 0)
        refuse("%s: fsync: %s", path, strerror(errno));
    int error = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    if (error != 0)
        refuse("%s: posix_fadvise: %s", path, strerror(error));
    close(descriptor);
    return 0;
}

int main(int argument_count, char **arguments)
{
    const char *verb = argument_count < 2 ? "" : arguments[1];
    if (strcmp(verb, "load") == 0)
        return run_load(argument_count - 1, arguments + 1);
    if (strcmp(verb, "evict") == 0 && argument_count == 3)
        return evict_image(arguments[2]);
    if (strcmp(verb, "image") == 0 && (argument_count == 4 || argument_count == 5)) {
        uint64_t seed = argument_count == 5 ? strtoull(arguments[4], NULL, 10) : 1;
        return write_image(arguments[2], strtoull(arguments[3], NULL, 10), seed);
    }
    usage();
}
