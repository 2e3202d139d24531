// SPDX-License-Identifier: MIT
#include "tests/support/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <span>
#include <sstream>
#include <stdexcept>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"

namespace pkgfs::test {

namespace {

[[noreturn]] void failed(const std::string& call, const std::string& path) {
  throw std::runtime_error(call + " " + path + ": " + std::strerror(errno));
}

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

struct Listed {
  std::string name;
  std::uint64_t number = 0;
};

std::vector<Listed> names_in(int dir, const std::string& path) {
  UniqueFd fd(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    failed("open", path);
  }
  const std::unique_ptr<DIR, CloseDir> stream(::fdopendir(fd.release()));
  if (stream == nullptr) {
    failed("fdopendir", path);
  }
  std::vector<Listed> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) {
        failed("readdir", path);
      }
      return names;
    }
    const std::string name = entry->d_name;
    if (name != "." && name != "..") {
      names.push_back({name, entry->d_ino});
    }
  }
}

std::string hash_of(int fd, const std::string& path, std::uint64_t& length) {
  Sha256Hasher hasher;
  std::vector<std::byte> buffer(1U << 17U);
  length = 0;
  for (;;) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0) {
      failed("read", path);
    }
    if (count == 0) {
      return to_hex(hasher.finish());
    }
    length += static_cast<std::uint64_t>(count);
    hasher.update(std::span(buffer).first(static_cast<std::size_t>(count)));
  }
}

/// Walks with descriptors, not with paths: a tree may be deeper than PATH_MAX.
class Walker {
 public:
  explicit Walker(const ListOptions& options) : options_(options) {}

  template <typename Visit>
  void walk(int dir, const std::string& path, std::size_t depth, const Visit& visit) {
    if (depth > options_.deepest) {
      throw std::runtime_error("too deep at " + path.substr(0, 200));
    }
    for (const Listed& listed : names_in(dir, path)) {
      const std::string here = path + "/" + listed.name;
      if (++count_ > options_.most_entries) {
        throw std::runtime_error("too many entries");
      }
      struct stat status{};
      if (::fstatat(dir, listed.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        failed("lstat", here);
      }
      visit(dir, listed, here, status);
      if (S_ISDIR(status.st_mode)) {
        const UniqueFd child(::openat(dir, listed.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!child) {
          failed("open", here);
        }
        walk(child.get(), here, depth + 1, visit);
      }
    }
  }

 private:
  ListOptions options_;
  std::size_t count_ = 0;
};

UniqueFd open_directory(const std::filesystem::path& root) {
  UniqueFd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    failed("open", root);
  }
  return fd;
}

std::string text_of(const TreeEntry& entry) {
  std::ostringstream text;
  text << entry.type << " len " << entry.length << " mtime " << entry.mtime_ns;
  if (!entry.sha256.empty()) {
    text << " sha256 " << entry.sha256.substr(0, 12);
  }
  if (!entry.target.empty()) {
    text << " -> " << entry.target;
  }
  return text.str();
}

}  // namespace

Tree list_tree(const std::filesystem::path& root, const ListOptions& options) {
  Tree tree;
  Walker(options).walk(open_directory(root).get(), "", 1,
                       [&](int dir, const Listed& listed, const std::string& path, const struct stat& status) {
                         TreeEntry entry;
                         entry.mtime_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
                         if (S_ISDIR(status.st_mode)) {
                           entry.type = "dir";
                         } else if (S_ISLNK(status.st_mode)) {
                           entry.type = "symlink";
                           std::array<char, PATH_MAX> target{};
                           const ssize_t length = ::readlinkat(dir, listed.name.c_str(), target.data(), target.size());
                           if (length < 0) {
                             failed("readlink", path);
                           }
                           entry.target.assign(target.data(), static_cast<std::size_t>(length));
                           entry.length = static_cast<std::uint64_t>(status.st_size);
                         } else if (S_ISREG(status.st_mode)) {
                           entry.type = "file";
                           entry.length = static_cast<std::uint64_t>(status.st_size);
                           if (options.content) {
                             const UniqueFd file(::openat(dir, listed.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
                             if (!file) {
                               failed("open", path);
                             }
                             std::uint64_t length = 0;
                             entry.sha256 = hash_of(file.get(), path, length);
                             if (length != entry.length) {
                               throw std::runtime_error(path + ": read " + std::to_string(length) + " bytes of " +
                                                        std::to_string(entry.length));
                             }
                           }
                         } else {
                           entry.type = "other";
                         }
                         tree.emplace(path, std::move(entry));
                       });
  return tree;
}

Tree tree_from_json(const nlohmann::ordered_json& entries) {
  Tree tree;
  for (const auto& json : entries) {
    TreeEntry entry;
    entry.type = json.at("type").get<std::string>();
    entry.sha256 = json.value("sha256", "");
    entry.target = json.value("target", "");
    entry.length = entry.type == "symlink" ? entry.target.size() : json.value("len", std::uint64_t{0});
    if (const auto mtime = json.find("mtime_ns"); mtime != json.end() && mtime->is_number()) {
      entry.mtime_ns = mtime->get<std::int64_t>();
    }
    tree.emplace(json.at("path").get<std::string>(), std::move(entry));
  }
  return tree;
}

std::string difference(const Tree& expected, const Tree& actual) {
  std::ostringstream text;
  int lines = 0;
  const auto say = [&](const std::string& line) {
    if (++lines <= 20) {
      text << line << "\n";
    }
  };
  for (const auto& [path, entry] : expected) {
    const auto found = actual.find(path);
    if (found == actual.end()) {
      say("missing:    " + path + " (" + text_of(entry) + ")");
    } else if (found->second != entry) {
      say("different:  " + path + "\n  expected: " + text_of(entry) + "\n  actual:   " + text_of(found->second));
    }
  }
  for (const auto& [path, entry] : actual) {
    if (!expected.contains(path)) {
      say("unexpected: " + path + " (" + text_of(entry) + ")");
    }
  }
  if (lines > 20) {
    text << "and " << lines - 20 << " more\n";
  }
  return text.str();
}

std::string file_sha256(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    failed("open", path);
  }
  std::uint64_t length = 0;
  return hash_of(file.get(), path, length);
}

std::map<std::string, std::uint64_t> inode_numbers(const std::filesystem::path& root) {
  std::map<std::string, std::uint64_t> numbers;
  Walker({}).walk(open_directory(root).get(), "", 1,
                  [&](int, const Listed& listed, const std::string& path, const struct stat& status) {
                    if (listed.number != status.st_ino) {
                      throw std::runtime_error(path + ": d_ino and st_ino differ");
                    }
                    numbers.emplace(path, status.st_ino);
                  });
  return numbers;
}

}  // namespace pkgfs::test
