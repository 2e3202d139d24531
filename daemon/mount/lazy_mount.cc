// SPDX-License-Identifier: MIT
#include "daemon/mount/lazy_mount.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "core/base/error.h"
#include "daemon/packages/lazy_packages.h"

namespace pkgfs {

LazyMount::LazyMount(const PackageTree& tree) : sources_(lazy_sources(tree)), whole_(std::make_shared<Whole>()) {
  if (!is_lazy()) {
    return;
  }
  whole_->fd.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!whole_->fd) {
    throw system_error("Unable to serve the mount", errno);
  }
  for (const std::shared_ptr<LazySource>& source : sources_) {
    source->begin_reading();
  }
}

LazyMount::~LazyMount() { save_profiles(); }

void LazyMount::save_profiles() const noexcept {
  for (const std::shared_ptr<LazySource>& source : sources_) {
    source->save_profile();
  }
}

void LazyMount::save_blocks() const noexcept {
  for (const std::shared_ptr<LazySource>& source : sources_) {
    source->save_blocks();
  }
}

void LazyMount::begin() {
  whole_->missing = sources_.size();
  for (const std::shared_ptr<LazySource>& source : sources_) {
    source->when_whole([whole = whole_] {
      if (whole->missing.fetch_sub(1) == 1) {
        const std::uint64_t one = 1;
        (void)!::write(whole->fd.get(), &one, sizeof(one));
      }
    });
    source->begin_background();
  }
}

}  // namespace pkgfs
