// SPDX-License-Identifier: MIT
#pragma once

#include "core/webc/container.h"
#include "core/webc/tree.h"

namespace pkgfs::webc {

/// Reads the sections of `source`; its first bytes give the version. `data` is that of `Container::open`, and the
/// function throws as that one.
[[nodiscard]] Layout read_layout(const ByteSource& source, const limits::PackageLimits& limits,
                                 DirectoryData data = DirectoryData::kNow);

/// Reads the layout of a source and makes a Container from it. This is a class of its own, so that container.h needs no
/// header of the parsers.
class ContainerBuilder {
 public:
  [[nodiscard]] static std::shared_ptr<const Container> build(std::shared_ptr<const ByteSource> source,
                                                              const limits::PackageLimits& limits, DirectoryData data);
};

}  // namespace pkgfs::webc
