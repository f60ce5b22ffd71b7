/* Memory that the kernel, the disk and JavaScript share: one anonymous mapping per call. */
#define _GNU_SOURCE
#include "shim.h"

#include <stdlib.h>
#include <sys/mman.h>

static void unmap(napi_env env, void *memory, void *hint)
{
    (void)env;
    munmap(memory, (size_t)(uintptr_t)hint);
}

/*
 * mapMemory(lengthBytes): ArrayBuffer. Zeroed, page-aligned, never moved, and backed by pages only
 * where it has been touched. Unmapped when the ArrayBuffer is collected.
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

    napi_value buffer;
    napi_status status = napi_create_external_arraybuffer(
        env, memory, (size_t)length_bytes, unmap, (void *)(uintptr_t)length_bytes, &buffer);
    if (status != napi_ok) {
        munmap(memory, (size_t)length_bytes);
        return shim_misuse(env, "mapMemory: this runtime has no external ArrayBuffer");
    }
    return buffer;
}

void shim_register_memory(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "mapMemory", map_memory);
}
