/*
 * The program in the interface's receive path, loaded and attached through bpf(2). It is attached by
 * a link, which the kernel takes away with the last descriptor of it: after an exit of any kind
 * nothing of ours is left on the interface.
 */
#define _GNU_SOURCE
#include "xdp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Since Linux 5.18; older headers do not name it. */
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

enum { ETHER_TYPE_OFFSET = 12, ETHERNET_HEADER_BYTES = 14 };

enum { LOAD_ATTEMPTS = 5 };

/* linux/ethtool.h: ETH_FLAG_RXVLAN */
enum { STRIPS_VLAN_TAGS = 1 << 8 };

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : (int)result;
}

static int create_map(uint32_t queues)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_XSKMAP;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = sizeof(uint32_t);
    attributes.max_entries = queues;
    strcpy(attributes.map_name, "aoed_queues");
    return bpf(BPF_MAP_CREATE, &attributes);
}

/*
 * The program: an untagged frame of the EtherType goes to the socket of the queue that it came in
 * by; everything else, and what came in by a queue without a socket, goes on to the kernel.
 *
 * ```
 *    0  r6 = context
 *    1  r2 = context->data
 *    2  r3 = context->data_end
 *    3  r4 = r2
 *    4  r4 += 14
 *    5  if r4 > r3 goto 14
 *    6  r5 = *(u16 *)(r2 + 12)
 *    7  if r5 != EtherType goto 14
 *    8  r1 = map                                (two instructions long)
 *   10  r2 = context->rx_queue_index
 *   11  r3 = XDP_PASS                           (when the map has no socket for the queue)
 *   12  r0 = bpf_redirect_map(r1, r2, r3)
 *   13  exit
 *   14  r0 = XDP_PASS
 *   15  exit
 * ```
 */
int xdp_program_load(struct xdp_sockets *sockets, uint32_t queues, uint16_t ether_type,
                     bool multi_buffer)
{
    int map = create_map(queues);
    if (map < 0)
        return map;
    sockets->map = map;

    const struct bpf_insn program[] = {
        {BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0},
        {BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, data), 0},
        {BPF_LDX | BPF_MEM | BPF_W, BPF_REG_3, BPF_REG_6, offsetof(struct xdp_md, data_end), 0},
        {BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_4, BPF_REG_2, 0, 0},
        {BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_4, 0, 0, ETHERNET_HEADER_BYTES},
        {BPF_JMP | BPF_JGT | BPF_X, BPF_REG_4, BPF_REG_3, 14 - 6, 0},
        {BPF_LDX | BPF_MEM | BPF_H, BPF_REG_5, BPF_REG_2, ETHER_TYPE_OFFSET, 0},
        {BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 14 - 8, htons(ether_type)},
        {BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map},
        {0, 0, 0, 0, 0},
        {BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_6,
         offsetof(struct xdp_md, rx_queue_index), 0},
        {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, XDP_PASS},
        {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
        {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, XDP_PASS},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
    };
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_XDP;
    attributes.expected_attach_type = BPF_XDP;
    attributes.insns = (uint64_t)(uintptr_t)program;
    attributes.insn_cnt = sizeof program / sizeof program[0];
    attributes.license = (uint64_t)(uintptr_t) "Apache-2.0";
    attributes.prog_flags = multi_buffer ? BPF_F_XDP_HAS_FRAGS : 0;
    strcpy(attributes.prog_name, "aoed");
    /* A signal that arrives while the kernel checks the program makes it give up. */
    int loaded = -EAGAIN;
    for (int attempt = 0; attempt < LOAD_ATTEMPTS && loaded == -EAGAIN; attempt++)
        loaded = bpf(BPF_PROG_LOAD, &attributes);
    if (loaded < 0)
        return loaded;
    sockets->program = loaded;
    return 0;
}

int xdp_program_attach(struct xdp_sockets *sockets, uint32_t interface_index, bool native)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = (uint32_t)sockets->program;
    attributes.link_create.target_ifindex = interface_index;
    attributes.link_create.attach_type = BPF_XDP;
    attributes.link_create.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    int link = bpf(BPF_LINK_CREATE, &attributes);
    if (link < 0)
        return link;
    sockets->link = link;
    return 0;
}

int xdp_program_redirect(const struct xdp_sockets *sockets, uint32_t queue, int descriptor)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)sockets->map;
    attributes.key = (uint64_t)(uintptr_t)&queue;
    attributes.value = (uint64_t)(uintptr_t)&descriptor;
    return bpf(BPF_MAP_UPDATE_ELEM, &attributes);
}

int xdp_program_pass(const struct xdp_sockets *sockets, uint32_t queue)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)sockets->map;
    attributes.key = (uint64_t)(uintptr_t)&queue;
    return bpf(BPF_MAP_DELETE_ELEM, &attributes);
}

static int ask_driver(const char *interface_name, void *question)
{
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;
    struct ifreq request = {.ifr_data = question};
    strncpy(request.ifr_name, interface_name, sizeof request.ifr_name - 1);
    int result = ioctl(descriptor, SIOCETHTOOL, &request) == 0 ? 0 : -errno;
    close(descriptor);
    return result;
}

static bool interface_name_of(napi_env env, napi_value value, char name[IFNAMSIZ])
{
    size_t length_bytes;
    return napi_get_value_string_utf8(env, value, name, IFNAMSIZ, &length_bytes) == napi_ok;
}

/* xdpQueueCount(interfaceName): receive queues in use; a driver that does not say so has one. */
static napi_value xdp_queue_count(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    char name[IFNAMSIZ];
    if (!interface_name_of(env, arguments[0], name))
        return shim_misuse(env, "xdpQueueCount: not a name");
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    if (ask_driver(name, &channels) != 0)
        return shim_number(env, 1);
    int64_t count = (int64_t)channels.rx_count + channels.combined_count;
    return shim_number(env, count > 0 ? count : 1);
}

/* xdpStripsVlanTags(interfaceName): 1 when the program sees tagged frames without their tag. */
static napi_value xdp_strips_vlan_tags(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    char name[IFNAMSIZ];
    if (!interface_name_of(env, arguments[0], name))
        return shim_misuse(env, "xdpStripsVlanTags: not a name");
    struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};
    bool strips = ask_driver(name, &flags) == 0 && (flags.data & STRIPS_VLAN_TAGS) != 0;
    return shim_number(env, strips ? 1 : 0);
}

void shim_register_xdp_program(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "xdpQueueCount", xdp_queue_count);
    shim_export_function(env, exports, "xdpStripsVlanTags", xdp_strips_vlan_tags);
}
