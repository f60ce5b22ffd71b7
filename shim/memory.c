/* Memory that the kernel, the disk and JavaScript share: one anonymous mapping per call. */
#define _GNU_SOURCE
#include "shim.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

/*
 * Threads of ours may be using a mapping when its ArrayBuffer goes: at the end of an environment
 * that happens before any cleanup hook is called. So a mapping lives until its last holder lets go.
 */
struct shim_mapping {
    uint8_t *memory;
    size_t length_bytes;
    int holders;
    struct shim_mapping *next;
};

/* Two huge pages: a smaller mapping could take much more memory than it was asked for. */
#define HUGE_FROM_BYTES ((size_t)4 << 20)

static pthread_mutex_t mappings_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct shim_mapping *mappings;

static struct shim_mapping *add_mapping(void *memory, size_t length_bytes)
{
    struct shim_mapping *mapping = malloc(sizeof *mapping);
    if (mapping == NULL)
        return NULL;
    pthread_mutex_lock(&mappings_mutex);
    *mapping = (struct shim_mapping){memory, length_bytes, 1, mappings};
    mappings = mapping;
    pthread_mutex_unlock(&mappings_mutex);
    return mapping;
}

struct shim_mapping *shim_hold_mapping(const uint8_t *memory)
{
    pthread_mutex_lock(&mappings_mutex);
    struct shim_mapping *mapping = mappings;
    while (mapping != NULL && mapping->memory != memory)
        mapping = mapping->next;
    if (mapping != NULL)
        mapping->holders++;
    pthread_mutex_unlock(&mappings_mutex);
    return mapping;
}

void shim_release_mapping(struct shim_mapping *mapping)
{
    pthread_mutex_lock(&mappings_mutex);
    bool last = --mapping->holders == 0;
    if (last) {
        struct shim_mapping **link = &mappings;
        while (*link != mapping)
            link = &(*link)->next;
        *link = mapping->next;
    }
    pthread_mutex_unlock(&mappings_mutex);
    if (last) {
        munmap(mapping->memory, mapping->length_bytes);
        free(mapping);
    }
}

static void buffer_collected(napi_env env, void *memory, void *mapping)
{
    (void)env;
    (void)memory;
    shim_release_mapping(mapping);
}

/*
 * mapMemory(lengthBytes): ArrayBuffer. Zeroed, page-aligned, never moved, and backed by pages only
 * where it has been touched (by 2 MiB at a time when it is large). Unmapped when the ArrayBuffer is collected and nothing of ours uses it.
 */
static napi_value map_memory(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    int64_t length_bytes = shim_int64(env, arguments[0]);
    if (length_bytes <= 0)
        return shim_misuse(env, "mapMemory: the length must be positive");

    void *memory = mmap(NULL, (size_t)length_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return shim_misuse(env, "mapMemory: out of memory");
    /* What is large is used all over: with huge pages a copy waits less for address translation. */
    if ((size_t)length_bytes >= HUGE_FROM_BYTES)
        (void)madvise(memory, (size_t)length_bytes, MADV_HUGEPAGE);
    struct shim_mapping *mapping = add_mapping(memory, (size_t)length_bytes);
    if (mapping == NULL) {
        munmap(memory, (size_t)length_bytes);
        return shim_misuse(env, "mapMemory: out of memory");
    }

    napi_value buffer;
    napi_status status = napi_create_external_arraybuffer(env, memory, (size_t)length_bytes,
                                                          buffer_collected, mapping, &buffer);
    if (status != napi_ok) {
        shim_release_mapping(mapping);
        return shim_misuse(env, "mapMemory: this runtime has no external ArrayBuffer");
    }
    return buffer;
}

void shim_register_memory(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "mapMemory", map_memory);
}
