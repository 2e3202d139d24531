// SPDX-License-Identifier: MIT
#include "daemon/mount/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "core/base/error.h"
#include "core/base/files.h"

namespace pkgfs {

LoopDevice::LoopDevice(const std::string& file) {
  const std::string what = "Unable to make a loop device of \"" + file + "\"";
  const UniqueFd backing(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd control(backing ? ::open("/dev/loop-control", O_RDWR | O_CLOEXEC) : -1);
  if (!control) {
    throw system_error(what, errno);
  }
  constexpr int kTries = 20;  // another process may take the same free device
  for (int i = 0; i < kTries; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) {
      throw system_error(what, errno);
    }
    path_ = "/dev/loop" + std::to_string(number);
    device_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!device_) {
      throw system_error(what, errno);
    }
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing.get());
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    if (::ioctl(device_.get(), LOOP_CONFIGURE, &config) == 0) {
      return;
    }
    if (errno != EBUSY) {
      throw system_error(what, errno);
    }
  }
  throw system_error(what, EBUSY);
}

std::string loop_file(const std::string& device) {
  const std::string name = device.substr(device.rfind('/') + 1);
  std::string text = read_kernel_file("/sys/block/" + name + "/loop/backing_file").value_or("");
  text.erase(std::ranges::find(text, '\n'), text.end());
  return text;
}

}  // namespace pkgfs
