// SPDX-License-Identifier: MIT
#include "core/lazy/first_requests.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/base/byte_source.h"
#include "core/base/log.h"
#include "core/lazy/complete_hash.h"
#include "core/lazy/fetch_counted.h"
#include "core/net/http_client.h"
#include "core/net/range_request.h"

namespace pkgfs::first_requests {
namespace {

/// The first request asks for so many bytes. They have the index, and often the manifest, too.
constexpr std::uint64_t kFirstRequest = 64U << 10U;
/// The first request for a part that is here asks for at most so many blocks.
constexpr std::uint64_t kNextRequest = SparseFile::blocks_in(64U << 10U);

}  // namespace

Answer go_on(SparseFile& file, const RemoteFile& remote, Ask ask, HttpClient& client, const CancelFlag& cancel,
             LazyCounters& counters) {
  const BlockRange missing = file.missing({0, file.blocks()});
  const auto claim =
      missing.empty() ? std::nullopt : file.claim({missing.first, std::min(missing.count, kNextRequest)});
  if (!claim && ask == Ask::kIfMissing) {
    return Answer::kSame;  // another process fetches it at this moment
  }
  const std::uint64_t first = claim ? claim->range().first * SparseFile::kBlock : 0;
  const std::uint64_t end = claim ? std::min(claim->range().end() * SparseFile::kBlock, file.size()) : 1;
  const RangeRequest request = remote.request(file, first, end - first);
  try {
    fetch_counted(client, request, cancel, counters, [&](const RemoteVersion&, std::uint64_t at, auto piece) {
      if (claim) {
        file.write(at, piece);
      }
    });
    if (claim) {
      file.mark_present(claim->range());
    }
    return Answer::kSame;
  } catch (const HttpError& error) {
    const auto* const refusal = dynamic_cast<const RangeError*>(&error);
    if (refusal != nullptr && refusal->reason() == RangeError::Reason::kOtherVersion) {
      return Answer::kOtherVersion;
    }
    if (refusal != nullptr && refusal->reason() == RangeError::Reason::kNoRanges) {
      return Answer::kNoRanges;
    }
    if (ask == Ask::kMust) {
      throw;
    }
    if (ask == Ask::kAlways) {
      log::warn("{}: it isn't known whether the server has another version than the part that is here: {}", remote.name,
                error);
    } else {
      log::debug("{}: {}", remote.name, error);
    }
    return Answer::kSame;  // what is here may suffice
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kFull) {
      return Answer::kSame;  // the server has this version: it sent a part
    }
    throw;
  }
}

std::shared_ptr<SparseFile> begin(const PrivateDirectory& directory, const std::string& key, const RemoteFile& remote,
                                  const std::optional<std::string>& known_etag, Check check, HttpClient& client,
                                  const CancelFlag& cancel, LazyCounters& counters) {
  std::shared_ptr<SparseFile> file;
  std::optional<SparseFile::Claim> claim;  // must not outlive the file
  std::uint64_t end = 0;
  RangeRequest request = remote.request(0, kFirstRequest);
  request.known_etag = known_etag;
  fetch_counted(client, request, cancel, counters,
                [&](const RemoteVersion& version, std::uint64_t at, std::span<const std::byte> piece) {
                  if (file == nullptr) {
                    check(version);
                    file = SparseFile::open(directory, key, {version.validator, version.size});
                    auto taken = file->claim(SparseFile::blocks_of(0, kFirstRequest));
                    if (taken && taken->range().first == 0) {
                      claim.emplace(std::move(*taken));
                    }
                  }
                  // What isn't claimed comes from another process, which has begun meanwhile.
                  const std::uint64_t limit = claim ? claim->range().end() * SparseFile::kBlock : 0;
                  if (at < limit) {
                    const auto ours = piece.first(std::min<std::uint64_t>(piece.size(), limit - at));
                    file->write(at, ours);
                    end = at + ours.size();
                  }
                });
  if (file == nullptr) {
    throw NotInParts{"it is empty"};
  }
  if (claim) {
    file->mark_present({0, end == file->size() ? file->blocks() : end / SparseFile::kBlock});
    claim.reset();
  }
  return file;
}

bool is_container(const SparseFile& file) {
  constexpr std::string_view kMagic("\0webc", 5);
  std::array<char, kMagic.size()> start{};
  return ::pread(file.fd(), start.data(), start.size(), 0) == static_cast<ssize_t>(start.size()) &&
         std::string_view(start.data(), start.size()) == kMagic;
}

std::uint64_t complete(SparseFile& file, const RemoteFile& remote, const std::optional<Sha256>& announced,
                       HttpClient& client, const CancelFlag& cancel, LazyCounters& counters) {
  for (BlockRange missing = file.missing({0, file.blocks()}); !missing.empty();
       missing = file.missing({0, file.blocks()})) {
    const auto claim = file.claim(missing);
    if (!claim) {
      throw NotInParts{"another process fetches it"};
    }
    const std::uint64_t first = claim->range().first * SparseFile::kBlock;
    const std::uint64_t end = std::min(claim->range().end() * SparseFile::kBlock, file.size());
    fetch_counted(client, remote.request(file, first, end - first), cancel, counters,
                  [&](const RemoteVersion&, std::uint64_t at, auto piece) { file.write(at, piece); });
    file.mark_present(claim->range());
  }
  std::uint64_t generation = file.generation();
  if (announced) {
    const auto mapped = MappedFile::adopt(file.duplicate(), file.path(), MappedFile::Changes::kAllowed);
    const auto actual = hash_complete(file, *mapped);
    if (!actual) {
      throw NotInParts{"another process found wrong bytes in it"};
    }
    if (actual->hash != *announced) {
      file.remove();
      throw NotInParts{"it doesn't have the announced hash"};
    }
    generation = actual->generation;
  }
  file.sync();
  return generation;
}

}  // namespace pkgfs::first_requests
