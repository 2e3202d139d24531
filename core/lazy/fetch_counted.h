// SPDX-License-Identifier: MIT
#pragma once

#include "core/base/cancel.h"
#include "core/lazy/lazy_counters.h"
#include "core/net/range_request.h"

namespace pkgfs {

class HttpClient;

/// As `fetch_range`, and counts the request in `counters`. An interrupted request doesn't count as failed.
void fetch_counted(HttpClient& client, const RangeRequest& request, const CancelFlag& cancel, LazyCounters& counters,
                   const RangeSink& sink);

}  // namespace pkgfs
