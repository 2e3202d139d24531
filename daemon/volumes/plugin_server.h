// SPDX-License-Identifier: MIT
#pragma once

#include <functional>

#include "daemon/volumes/volume_protocol.h"

namespace pkgfs {

/// Serves the volume plugin protocol over HTTP/1.1 on the listening Unix socket `listener`, which the caller keeps.
/// Returns after SIGTERM or SIGINT. Several threads call `driver`. A slow, broken or endless client loses its
/// connection and affects no other client.
///
/// At the signal, `stopping` is called first; it must make calls of `driver` that wait return soon. Then this waits for
/// them. Ignores SIGPIPE in this process for ever. Throws Error.
void serve_plugin(int listener, VolumeDriver& driver, const std::function<void()>& stopping);

}  // namespace pkgfs
