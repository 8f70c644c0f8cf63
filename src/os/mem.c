/* Large memory for Linux: anonymous mappings, /proc for what the machine has. Control groups
 * (version 2, then 1) bound both total and available bytes, so that a container's limit is seen
 * before the kernel enforces it. No state, any thread. */
#include "os/mem.h"
#include "base/checked.h"
#include "os/file.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_BYTES = 2 << 20, PROC_FILE_BYTES = 64 << 10 };

err_code os_mem_alloc(uint64_t n_bytes, unsigned flags, os_mem *ret, err *e) {
    if (n_bytes == 0) {
        *ret = (os_mem){0};
        return ERR_OK;
    }
    uint64_t align = flags & OS_MEM_HUGE ? HUGE_BYTES : (uint64_t)sysconf(_SC_PAGESIZE), mapped;
    bool fits = checked_align(n_bytes, align, &mapped) && checked_add(mapped, align, &mapped) &&
                mapped < (uint64_t)PTRDIFF_MAX;
    uint64_t available = os_mem_query().available_bytes;
    if (!fits || (flags & OS_MEM_TOUCH && available && n_bytes > available))
        FAIL(e, NOMEM, "cannot allocate %llu bytes: %llu bytes of memory are available",
             (unsigned long long)n_bytes, (unsigned long long)available);
    void *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        FAIL(e, NOMEM, "cannot allocate %llu bytes: the system refused (%llu bytes available)",
             (unsigned long long)n_bytes, (unsigned long long)available);
    uintptr_t at = ((uintptr_t)base + align - 1) & ~(uintptr_t)(align - 1);
    os_mem m = {.ptr = (void *)at, .n_bytes = n_bytes, .n_mapped = mapped, .base = base};
    if (flags & OS_MEM_HUGE) (void)madvise(m.ptr, n_bytes, MADV_HUGEPAGE);
    if (flags & OS_MEM_TOUCH) memset(m.ptr, 0, n_bytes);
    *ret = m;
    return ERR_OK;
}

void os_mem_free(os_mem *m) {
    if (m->base) munmap(m->base, m->n_mapped);
    *m = (os_mem){0};
}

void os_mem_discard(const os_mem *m, uint64_t offset, uint64_t n_bytes) {
    if (offset >= m->n_bytes) return;
    if (n_bytes > m->n_bytes - offset) n_bytes = m->n_bytes - offset;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)m->ptr + offset + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)m->ptr + offset + n_bytes) & ~(page - 1);
    if (from < to) (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

/* The first number after `label` in a small text file; 0 when there is none ("max" too). */
static uint64_t read_number(const char *path, str label) {
    buf b = {0};
    uint64_t v = 0;
    if (file_read(path, PROC_FILE_BYTES, &b, NULL) == ERR_OK) {
        str text = buf_str(&b);
        ptrdiff_t at = str_find(text, label);
        size_t i = at < 0 ? text.len : (size_t)at + label.len;
        while (i < text.len && (text.ptr[i] == ' ' || text.ptr[i] == '\t')) i++;
        for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
            uint64_t digit = (uint64_t)(text.ptr[i] - '0');
            if (!checked_mul(v, 10, &v) || !checked_add(v, digit, &v)) break;
        }
    }
    buf_finish(&b);
    return v;
}

/* Lowers both numbers to a control group's limit; reclaimable file pages count as available. */
static void bound_by_group(os_mem_info *info, const char *limit_path, const char *usage_path,
                           const char *stat_path) {
    uint64_t limit = read_number(limit_path, STR("")), used = read_number(usage_path, STR(""));
    if (limit == 0 || limit >= info->total_bytes) return;
    uint64_t cached = read_number(stat_path, STR("inactive_file "));
    used -= cached < used ? cached : used;
    uint64_t left = limit > used ? limit - used : 0;
    info->total_bytes = limit;
    if (left < info->available_bytes) info->available_bytes = left;
}

os_mem_info os_mem_query(void) {
    os_mem_info info = {
        .total_bytes = read_number("/proc/meminfo", STR("MemTotal:")) << 10,
        .available_bytes = read_number("/proc/meminfo", STR("MemAvailable:")) << 10,
        .rss_bytes = read_number("/proc/self/status", STR("VmRSS:")) << 10,
    };
    bound_by_group(&info, "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current",
                   "/sys/fs/cgroup/memory.stat");
    bound_by_group(&info, "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                   "/sys/fs/cgroup/memory/memory.usage_in_bytes",
                   "/sys/fs/cgroup/memory/memory.stat");
    return info;
}
