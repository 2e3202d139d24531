// SPDX-License-Identifier: MIT
#include "core/cache/profile_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/cache/cache_files.h"

namespace pkgfs::profile_files {
namespace {

constexpr std::string_view kProfile = ".profile";

std::string name_of(const Sha256& hash) { return to_hex(hash) + std::string(kProfile); }

}  // namespace

std::vector<File> list(const std::string& directory) {
  std::vector<File> files;
  std::error_code ignored;
  for (const cache_files::File& file : cache_files::list(directory, ignored)) {
    const std::string_view name = file.name;
    const auto hash =
        name.ends_with(kProfile) ? sha256_from_hex(name.substr(0, name.size() - kProfile.size())) : std::nullopt;
    if (hash) {
      files.push_back({*hash, file.path, file.size, file.used});
    }
  }
  return files;
}

std::optional<std::string> read(const std::string& directory, const Sha256& hash, std::size_t limit) {
  try {
    std::error_code ignored;
    const auto opened = PrivateDirectory::find_chosen(directory, ignored);
    const std::string name = name_of(hash);
    auto text = opened ? opened->read_file(name, limit) : std::nullopt;
    if (text) {
      const std::array<timespec, 2> times{timespec{0, UTIME_NOW}, timespec{0, UTIME_OMIT}};
      ::utimensat(opened->fd(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
    }
    return text;
  } catch (const Error& error) {
    log::debug("{}", error);
    return std::nullopt;
  }
}

void write(const std::string& directory, const Sha256& hash, std::string_view text, std::size_t most) {
  const PrivateDirectory temporary = PrivateDirectory::make(directory + "/__temp__");
  const std::string path = directory + "/" + name_of(hash);
  // If this process is killed, the temporary file is removed as the rest of a download is (remove_old_parts).
  const std::string part = to_hex(hash) + ".part" + std::string(kProfile) + "-" + std::to_string(::getpid());
  try {
    temporary.write_file(part, text);
  } catch (const Error&) {
    temporary.remove(part);
    throw;
  }
  if (const int errnum = temporary.move_out(part, path); errnum != 0) {
    temporary.remove(part);
    throw system_error("Unable to write \"" + path + "\"", errnum);
  }
  std::vector<File> files = list(directory);
  if (files.size() > most) {
    std::ranges::sort(files, {}, &File::used);
    files.resize(files.size() - most);
    for (const File& file : files) {
      remove(file);
    }
  }
}

void remove(const File& file) {
  if (::unlink(file.path.c_str()) != 0 && errno != ENOENT) {
    throw system_error("Unable to remove \"" + file.path + "\"", errno);
  }
}

}  // namespace pkgfs::profile_files
