// SPDX-License-Identifier: MIT
#include "core/load/tarball.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/load/container_package.h"
#include "core/load/directory_package.h"
#include "core/load/pack.h"

namespace pkgfs {

namespace {

std::string temporary_directory() {
  std::error_code failed;
  const auto path = std::filesystem::temp_directory_path(failed);
  return failed ? "/tmp" : path.string();
}

/// A directory of our own; removed with all that is in it.
class ScratchDirectory {
 public:
  ScratchDirectory() : path_(temporary_directory() + "/pkgfs-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
      const int failed = errno;
      path_.clear();
      throw system_error("a directory below \"" + temporary_directory() + "\"", failed);
    }
    fd_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  std::string path_;
  UniqueFd fd_;
};

/// A file that has no name and vanishes when it is closed.
UniqueFd nameless_file() {
  const std::string directory = temporary_directory();
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) {  // not every file system can
    std::string path = directory + "/pkgfs-XXXXXX";
    fd.reset(::mkostemp(path.data(), O_CLOEXEC));
    if (!fd) {
      throw system_error("a file below \"" + directory + "\"", errno);
    }
    ::unlink(path.c_str());
  }
  return fd;
}

/// The manifest at the top of the unpacked archive: `wasmer.toml`, else the older `wapm.toml`.
std::string manifest_name(int directory) {
  for (const char* name : {"wasmer.toml", "wapm.toml"}) {
    struct stat status{};
    if (::fstatat(directory, name, &status, 0) == 0 && S_ISREG(status.st_mode)) {
      return name;
    }
  }
  throw Error(ErrorCode::kNotFound, "Unable to find the \"wasmer.toml\"");
}

}  // namespace

std::shared_ptr<const Package> open_tarball(std::shared_ptr<const MappedFile> archive, const OpenOptions& options) {
  try {
    const ScratchDirectory scratch;
    try {
      unpack_tarball(*archive, scratch.fd());
    } catch (Error& error) {
      throw std::move(error).context("Unable to extract the tarball");
    }
    const auto directory = open_directory_package(
        scratch.path(),
        {.as_built = false, .display_name = archive->name(), .manifest_name = manifest_name(scratch.fd())});
    UniqueFd fd = nameless_file();
    pack_package(*directory, fd.get(), {});
    auto container = webc::Container::open(MappedFile::adopt(std::move(fd), archive->name()));
    return std::make_shared<ContainerPackage>(archive->name(), std::move(container),
                                              PackageHash(sha256(archive->bytes())), options);
  } catch (Error& error) {
    throw std::move(error).context("Unable to open the package \"" + archive->name() + "\"");
  }
}

}  // namespace pkgfs
