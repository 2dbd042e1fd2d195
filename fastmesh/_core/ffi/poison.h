/* Free pooled memory is forbidden memory: to the address sanitizer in an asan build, by pattern in a debug build. */
#ifndef FASTMESH_POISON_H
#define FASTMESH_POISON_H
#include <string.h>
#if defined(FASTMESH_ASAN)
#include <sanitizer/asan_interface.h>
#define FM_POISON(p, n) do { memset((p), 0xDD, (n)); ASAN_POISON_MEMORY_REGION((p), (n)); } while (0)
#define FM_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define FM_PROFILE "asan"
#elif defined(FASTMESH_DEBUG)
#define FM_POISON(p, n) memset((p), 0xDD, (n))
#define FM_UNPOISON(p, n) ((void)(p))
#define FM_PROFILE "debug"
#else
#define FM_POISON(p, n) ((void)(p))
#define FM_UNPOISON(p, n) ((void)(p))
#define FM_PROFILE "release"
#endif
static inline void mem_poison(void *p, size_t n) { FM_POISON(p, n); (void)n; }
static inline void mem_unpoison(void *p, size_t n) { FM_UNPOISON(p, n); (void)n; }
#endif
