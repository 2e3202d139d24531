// SPDX-License-Identifier: MIT
// The body of a PUT.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/net/transfer.h"

namespace pkgfs {

std::uint64_t Transfer::sent_bytes() const {
  if (request_.method != HttpRequest::Method::kPut) {
    return 0;
  }
  curl_off_t bytes = 0;
  libcurl().easy_getinfo(easy_.get(), CURLINFO_SIZE_UPLOAD_T, &bytes);
  return static_cast<std::uint64_t>(std::max<curl_off_t>(bytes, 0));
}

std::uint64_t Transfer::upload_size() const { return request_.upload ? request_.upload->size : request_.body.size(); }

std::size_t Transfer::read_body(std::span<char> buffer) {
  const std::uint64_t size = upload_size();
  const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - body_at_));
  if (!request_.upload) {
    std::copy_n(request_.body.data() + body_at_, wanted, buffer.data());
    body_at_ += wanted;
    return wanted;
  }
  ssize_t got = -1;
  do {
    got = ::pread(request_.upload->fd, buffer.data(), wanted, static_cast<off_t>(body_at_));
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    throw system_error("Unable to read \"" + request_.upload->name + "\"", errno);
  }
  if (got == 0 && wanted > 0) {
    throw Error(ErrorCode::kCorrupt, "\"" + request_.upload->name + "\" became shorter while it was sent");
  }
  body_at_ += static_cast<std::uint64_t>(got);
  return static_cast<std::size_t>(got);
}

std::size_t Transfer::read_callback(char* buffer, std::size_t one, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    return transfer.read_body({buffer, one * count});
  } catch (...) {
    transfer.thrown_ = std::current_exception();
    return CURL_READFUNC_ABORT;
  }
}

int Transfer::seek_callback(void* user, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (origin != SEEK_SET || offset < 0 || static_cast<std::uint64_t>(offset) > transfer.upload_size()) {
    return CURL_SEEKFUNC_FAIL;
  }
  transfer.body_at_ = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

}  // namespace pkgfs
