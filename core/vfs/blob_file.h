// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// An open file whose bytes are one run of a source, which it keeps alive.
class BlobFile final : public OpenFile {
 public:
  explicit BlobFile(Blob blob) : blob_(std::move(blob)) {}

  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset >= blob_.length) {
      return 0;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), blob_.length - offset));
    const Result<void> done = blob_.source->read_run(blob_.run(), offset, out.first(count));
    if (!done) {
      return fail(done.error());
    }
    return count;
  }
  [[nodiscard]] Result<Extent> extent() const override { return Extent{blob_.source.get(), blob_.run()}; }

 private:
  Blob blob_;
};

}  // namespace pkgfs::vfs
