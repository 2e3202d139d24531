// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "daemon/observe/lazy_state.h"
#include "daemon/observe/mount_facts.h"
#include "fuse/statistics.h"

namespace pkgfs {

/// The value of the attribute `user.pkgfs.stats`, one JSON object:
/// `{"requests":{"lookup":3,...},"bytes_read":0,"files_pushed":0,"bytes_pushed":0,"polled":0,"relieved":0,
/// "uptime_seconds":1.5,"errors":{"read":{"EIO":1}},
/// "latency_ns":{"lookup":{"count":3,"sum":9,"p50":3,"p99":3,"max":3}},"package":"acme/app@1.0.0",
/// "packages":["acme/app@1.0.0"],"mountpoint":"/mnt","version":"0.1.0","pid":7,"since":9}`.
///
/// `requests` has all kinds of request. `errors` and `latency_ns` have only the kinds of which there were any.
/// `"metrics"` is there if metrics are served. `"live":{"watched":1,"unwatched":0,"notices":0}` is there if live
/// directories are watched. `"lazy"` is there if a container wasn't complete when the mount was made:
/// `{"state":"lazy","bytes":9,"local":3,"percent":33,"background":true,"problem":"…","requests":2,"failed_requests":0,
/// "fetched":3,"reads":4,"waiting":1,"failed_reads":0,"checked":3,"mismatches":0,"wait_ns":{…},"first_byte_ns":{…},
/// "containers":[{"package":"acme/app@1.0.0","state":"lazy","bytes":9,"local":3,"problem":"…"}]}`; the last two
/// members are like those of `latency_ns`, and `"problem"` is there if there is one. An attribute holds at most 64 KiB.
/// So if there are very many packages, only the first are listed, and `"packages_total"` says how many there are. Of
/// the containers, only the first few are listed.
[[nodiscard]] std::string stats_json(const MountFacts& facts, const fuse::Snapshot& counts,
                                     const std::optional<LazyState>& lazy);

}  // namespace pkgfs
