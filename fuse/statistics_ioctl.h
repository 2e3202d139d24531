// SPDX-License-Identifier: MIT
#pragma once

#include <sys/ioctl.h>

#include <cstddef>

namespace pkgfs::fuse {

/// The text of `user.pkgfs.stats` in pieces, by ioctl(2) on the root of a mount that answers no requests for attributes
/// (AdapterOptions::below_overlay). The result is the number of bytes of the piece: fewer than the whole piece at the
/// end. The kernel limits a piece to 16 KiB. Each call counts anew, so two pieces may not fit together.
inline constexpr std::size_t kStatisticsPiece = 16000;
inline constexpr unsigned kStatisticsPieces = 4;
inline constexpr unsigned statistics_ioctl(unsigned piece) { return _IOC(_IOC_READ, 'p', piece, kStatisticsPiece); }

}  // namespace pkgfs::fuse
