/* firn: an embeddable tiered cache.
 *
 * This is the umbrella header: it includes every public header and nothing else. A hot tier in
 * memory fronts a cold tier on disk; see firn/cache.h for the calls most programs need, and the
 * manual page firn(3) for a guided tour.
 */
#ifndef FIRN_FIRN_H
#define FIRN_FIRN_H

#include <firn/cache.h>
#include <firn/clear.h>
#include <firn/cursor.h>
#include <firn/curve.h>
#include <firn/debug.h>
#include <firn/error.h>
#include <firn/explain.h>
#include <firn/group.h>
#include <firn/link.h>
#include <firn/load.h>
#include <firn/metrics.h>
#include <firn/object.h>
#include <firn/observe.h>
#include <firn/options.h>
#include <firn/page.h>
#include <firn/policy.h>
#include <firn/record.h>
#include <firn/simulate.h>
#include <firn/stats.h>
#include <firn/store.h>
#include <firn/stream.h>
#include <firn/tiering.h>
#include <firn/type.h>
#include <firn/weak.h>

#endif
