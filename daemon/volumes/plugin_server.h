// SPDX-License-Identifier: MIT
#pragma once

#include <functional>

#include "daemon/volumes/volume_protocol.h"

namespace pkgfs {

/// Serves the volume plugin protocol over HTTP/1.1 on the listening Unix socket `listener`, which the caller keeps.
/// Returns after SIGTERM or SIGINT. Several threads call `driver`. A slow, broken or endless client loses its
/// connection and affects no other client.
///
/// At the signal, calls `stopping` first, which must make waiting calls of `driver` return soon. Then waits for those
/// calls. Makes this process ignore SIGPIPE from now on. Throws Error.
void serve_plugin(int listener, VolumeDriver& driver, const std::function<void()>& stopping);

}  // namespace pkgfs
