/* Loaded by LD_PRELOAD while the static binary is built, so that two builds give the same bytes.
 *
 * lrtable 0.14.2, which promql-parser's build script uses, writes a table in the order of a hash
 * map, and that order comes from the operating system's random numbers. Rust's standard library
 * takes them from whoever defines this function (library/std/src/sys/random/linux.rs). To be
 * dropped when lrtable sorts what it writes. */
#include <string.h>
#include <sys/types.h>

ssize_t getrandom(void *buffer, size_t length, unsigned int flags)
{
    (void)flags;
    memset(buffer, 0, length);
    return (ssize_t)length;
}
