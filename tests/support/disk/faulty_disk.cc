// SPDX-License-Identifier: MIT
#include "tests/support/disk/faulty_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

#include "core/base/unique_fd.h"

namespace pkgfs::test {

FaultyDisk::FaultyDisk(const std::filesystem::path& file)
    : path_((std::filesystem::create_directory(parent_.path() / "disk"), parent_.path() / "disk")),
      guard_(path_),
      process_({FAULTY_DISK, file.string(), path_.string()}, {.timeout = std::chrono::minutes(10)}) {
  (void)eventually([this] { return ok(); });
}

FaultyDisk::~FaultyDisk() {
  if (ok()) {
    command("release");
  }
}

void FaultyDisk::command(const std::string& text) const {
  const UniqueFd control(::open((path_ / "control").c_str(), O_WRONLY | O_CLOEXEC));
  if (::write(control.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error("the disk refuses \"" + text + "\"");
  }
}

long FaultyDisk::reads() const { return std::stol(read_text(path_ / "reads")); }

}  // namespace pkgfs::test
