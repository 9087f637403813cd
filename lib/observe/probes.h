/* USDT probes: places where perf, bpftrace or SystemTap can look on, at the cost of one instruction
 * that does nothing. Without sys/sdt.h, or with -Dusdt=disabled, they are not there at all. Their
 * arguments are told in docs/observability.md. */
#ifndef FIRN_OBSERVE_PROBES_H
#define FIRN_OBSERVE_PROBES_H

#ifdef FIRN_USDT
#include <sys/sdt.h>
#ifdef __clang__ /* of what the macros of that header are made of */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#define FIRN_PROBE2(name, a, b)          DTRACE_PROBE2(firn, name, a, b)
#define FIRN_PROBE5(name, a, b, c, d, e) DTRACE_PROBE5(firn, name, a, b, c, d, e)
#else
#define FIRN_PROBE2(name, a, b)          ((void)0)
#define FIRN_PROBE5(name, a, b, c, d, e) ((void)0)
#endif

#endif
