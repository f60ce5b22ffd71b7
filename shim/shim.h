/*
 * What every part of the shim shares. The shim moves batches between the kernel and memory that
 * JavaScript sees; it knows no AoE, keeps no policy and never throws on the data path: calls return
 * a count, or a negative errno.
 */
#ifndef AOED_SHIM_H
#define AOED_SHIM_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each part adds its functions to the module's exports. */
void shim_register_memory(napi_env env, napi_value exports);
void shim_register_disk(napi_env env, napi_value exports);
void shim_register_poll(napi_env env, napi_value exports);
void shim_register_packet(napi_env env, napi_value exports);
void shim_register_packet_ring(napi_env env, napi_value exports);
void shim_register_netlink(napi_env env, napi_value exports);
void shim_register_tap(napi_env env, napi_value exports);
void shim_register_hash(napi_env env, napi_value exports);
void shim_register_xdp(napi_env env, napi_value exports);
void shim_register_threads(napi_env env, napi_value exports);

void shim_export_function(napi_env env, napi_value exports, const char *name, napi_callback call);

/* Reads the arguments of a call; missing ones are undefined. */
void shim_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments);
int32_t shim_int32(napi_env env, napi_value value);
int64_t shim_int64(napi_env env, napi_value value);
napi_value shim_number(napi_env env, int64_t value);

/* The bytes behind an ArrayBuffer or a typed array; NULL and 0 when it is neither. */
uint8_t *shim_bytes(napi_env env, napi_value value, size_t *length_bytes);

/*
 * Keeps memory of mapMemory mapped that threads use, whatever becomes of its ArrayBuffer; NULL when
 * it is not such memory. May be called by any thread.
 */
struct shim_mapping;
struct shim_mapping *shim_hold_mapping(const uint8_t *memory);
void shim_release_mapping(struct shim_mapping *mapping);

/* A programming error in the caller: throws, so that it is found in the first test. */
napi_value shim_misuse(napi_env env, const char *message);

/* The signal by which shim/threads.c reaches every thread: no thread may block it. */
#define SHIM_THREADS_SIGNAL (SIGRTMAX - 1)

#endif
