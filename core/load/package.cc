// SPDX-License-Identifier: MIT
#include "core/load/package.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "core/base/file_kind.h"
#include "core/load/container_package.h"
#include "core/load/directory_package.h"
#include "core/load/tarball.h"
#include "core/webc/header_digest.h"

namespace pkgfs {

namespace {

/// The bytes as the reference prints them: printable ASCII as it is, the rest as `\x..`.
std::string printed(std::span<const std::byte> bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    if (c == '"' || c == '\\') {
      text += {'\\', static_cast<char>(c)};
    } else if (c >= 0x20 && c < 0x7F) {
      text += static_cast<char>(c);
    } else {
      text += {'\\', 'x', kDigits[c >> 4U], kDigits[c & 15U]};
    }
  }
  return text;
}

/// The reason why a file that is neither a container nor a tarball is no package.
std::string what_it_is(std::span<const std::byte> bytes) {
  if (const auto kind = file_kind(bytes)) {
    return "it is " + std::string(*kind) + ", not a package";
  }
  if (bytes.size() < 5) {
    return "failed to fill whole buffer";
  }
  return "Expected the magic bytes to be \"\\x00webc\", but found \"" + printed(bytes.first(5)) + "\"";
}

}  // namespace

const webc::Atom* Package::find_atom(std::string_view name) const {
  const auto& all = atoms();
  const auto found =
      std::ranges::lower_bound(all, name, {}, [](const webc::Atom& atom) -> std::string_view { return atom.name; });
  return found != all.end() && found->name == name ? &*found : nullptr;
}

std::string Package::volume_key(std::string_view name) const {
  return std::to_string(reinterpret_cast<std::uintptr_t>(this)).append(1, '\0').append(name);
}

std::uint64_t Package::header_digest() const {
  if (container() != nullptr) {
    return webc::header_digest(*container());
  }
  const std::string text = manifest().to_json().dump();
  return webc::digest64(0, std::as_bytes(std::span(text)));
}

std::shared_ptr<const Package> open_package(const std::string& path, const OpenOptions& options) {
  const std::string what = "Unable to open the package \"" + path + "\"";
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    throw system_error(what, errno);
  }
  if (S_ISDIR(status.st_mode)) {
    if (options.untrusted) {
      throw Error(ErrorCode::kPermission,
                  {what,
                   "it is a directory, which can change while it is used: --untrusted accepts only containers and "
                   "tarballs"});
    }
    DirectoryOptions directory;
    directory.as_built = options.as_built;
    directory.times = options.times;
    directory.allow_outside = options.allow_outside;
    directory.follow_manifest = options.follow_manifest;
    return open_directory_package(path, directory);
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kUnsupported, {what, "it is neither a file nor a directory"});
  }
  const auto file = MappedFile::open(path);
  const auto type = webc::detect_format(file->bytes());
  if (type == webc::FileFormat::kTarball) {
    return open_tarball(*file, options);
  }
  try {
    if (type != webc::FileFormat::kWebc) {
      throw Error(ErrorCode::kUnsupported, {"Unable to detect the WEBC version", what_it_is(file->bytes())});
    }
    return std::make_shared<ContainerPackage>(path, webc::Container::open(file, options.limits()), std::nullopt,
                                              options);
  } catch (Error& error) {
    if (file->damaged()) {  // then whatever looks wrong in it proves nothing
      throw Error(ErrorCode::kIo, {what, "not all of the file can be read"});
    }
    throw std::move(error).context(what);
  }
}

std::shared_ptr<const Package> open_container(const std::shared_ptr<const ByteSource>& source,
                                              const std::optional<Sha256>& hash, const OpenOptions& options) {
  const std::string what = "Unable to open the package \"" + source->name() + "\"";
  try {
    const auto read = options.directory_data ? webc::DirectoryData::kNow : webc::DirectoryData::kWhenNeeded;
    return std::make_shared<ContainerPackage>(source->name(), webc::Container::open(source, options.limits(), read),
                                              hash ? std::optional(PackageHash(*hash)) : std::nullopt, options);
  } catch (Error& error) {
    throw std::move(error).context(what);
  }
}

}  // namespace pkgfs
