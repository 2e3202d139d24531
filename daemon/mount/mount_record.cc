// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_record.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

namespace pkgfs {
namespace {

using webc::Json;
using webc::required;

/// Bytes as an array of numbers: there are some two hundred.
Json bytes_json(const std::vector<std::byte>& bytes) {
  Json list = Json::array();
  for (const std::byte byte : bytes) {
    list.push_back(std::to_integer<unsigned>(byte));
  }
  return list;
}

std::vector<std::byte> bytes_of(const Json& list, const std::string& where) {
  std::vector<std::byte> bytes;
  for (const Json& byte : webc::expect_list(list, where)) {
    bytes.push_back(static_cast<std::byte>(webc::expect_unsigned(byte, where)));
  }
  return bytes;
}

std::string text_of(const Json& record, const std::string& key) {
  return webc::expect_text(required(record, key, "record"), key);
}

std::string read_all(int descriptor) {
  std::string text;
  const off_t size = ::lseek(descriptor, 0, SEEK_END);
  if (size > 0) {
    text.resize(static_cast<std::size_t>(size));
  }
  const ssize_t got = ::pread(descriptor, text.data(), text.size(), 0);
  if (size < 0 || got != size) {
    throw system_error("Unable to read the record of the mount", size < 0 || got < 0 ? errno : EIO);
  }
  return text;
}

}  // namespace

UniqueFd MountRecord::write() const {
  const unsigned answers = is_served()                            ? kServedAnswers
                           : tree.resolution.contains("journal")  ? kLiveAnswers
                           : tree.resolution.contains("versions") ? kVersionsAnswers
                                                                  : kAnswers;
  Json record{{"answers", answers},
              {"version", version},
              {"arguments", arguments.words},
              {"from_mount", arguments.rules.from_mount},
              {"sloppy", arguments.rules.sloppy},
              {"working_directory", arguments.working_directory},
              {"mountpoint", mountpoint},
              {"source", source},
              {"package", package},
              {"device", device},
              {"since", since},
              {"generation", generation},
              {"last_end", last_end},
              {"crashes", crashes},
              {"init", bytes_json(handshake.request)},
              {"init_reply", bytes_json(handshake.reply)},
              {"tree", tree.resolution}};
  const std::string text = record.dump(-1, ' ', false, Json::error_handler_t::replace);
  return sealed_file("pkgfs-record", text, "Unable to write the record of the mount");
}

UniqueFd sealed_file(const char* name, std::string_view text, const char* what) {
  UniqueFd file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) {
    throw system_error(what, errno);
  }
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(file.get(), text.data() + done, text.size() - done);
    if (count < 0) {
      throw system_error(what, errno);
    }
    done += static_cast<std::size_t>(count);
  }
  ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return file;
}

std::string MountRecord::device_of(int descriptor) noexcept {
  try {
    return text_of(webc::parse_json(read_all(descriptor)), "device");
  } catch (...) {
    return {};
  }
}

MountRecord MountRecord::read(int descriptor) {
  try {
    Json record = webc::parse_json(read_all(descriptor));
    const Json& answers = required(record, "answers", "record");
    if (answers != Json(kAnswers) && answers != Json(kLiveAnswers) && answers != Json(kVersionsAnswers) &&
        answers != Json(kServedAnswers)) {
      throw Error(ErrorCode::kUnsupported, "it is of pkgfs " + text_of(record, "version") +
                                               ", which answers the kernel otherwise than this version does");
    }
    MountRecord read;
    for (const Json& word : webc::expect_list(required(record, "arguments", "record"), "arguments")) {
      read.arguments.words.push_back(webc::expect_text(word, "arguments"));
    }
    read.arguments.rules = {.from_mount = required(record, "from_mount", "record") == Json(true),
                            .sloppy = required(record, "sloppy", "record") == Json(true)};
    read.arguments.working_directory = text_of(record, "working_directory");
    read.mountpoint = text_of(record, "mountpoint");
    read.source = text_of(record, "source");
    read.package = webc::optional_text(record, "package", "record").value_or("");
    read.device = text_of(record, "device");
    read.version = text_of(record, "version");
    read.since = static_cast<std::int64_t>(webc::expect_unsigned(required(record, "since", "record"), "since"));
    read.generation =
        static_cast<unsigned>(webc::expect_unsigned(required(record, "generation", "record"), "generation"));
    read.last_end = text_of(record, "last_end");
    for (const Json& time : webc::expect_list(required(record, "crashes", "record"), "crashes")) {
      read.crashes.push_back(static_cast<std::int64_t>(webc::expect_unsigned(time, "crashes")));
    }
    read.handshake = {.request = bytes_of(required(record, "init", "record"), "init"),
                      .reply = bytes_of(required(record, "init_reply", "record"), "init_reply")};
    read.tree.resolution = required(record, "tree", "record");
    return read;
  } catch (Error& error) {
    throw std::move(error).context("Unable to use the record of the mount");
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kCorrupt, std::vector<std::string>{"Unable to use the record of the mount", error.what()});
  }
}

}  // namespace pkgfs
