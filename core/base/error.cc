// SPDX-License-Identifier: MIT
#include "core/base/error.h"

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "core/base/printable.h"
#include "core/base/system_limits.h"

namespace pkgfs {

namespace {

std::string shown(std::string message, Error::LineBreaks breaks = Error::LineBreaks::kEscaped) {
  message = printable(message, breaks == Error::LineBreaks::kKept);
  return shortened(message, kLongestMessage);
}

}  // namespace

Error::Error(ErrorCode code, std::string message, LineBreaks breaks) : code_(code) {
  chain_.push_back(shown(std::move(message), breaks));
  render();
}

Error::Error(ErrorCode code, std::vector<std::string> chain) : code_(code), chain_(std::move(chain)) {
  for (std::string& message : chain_) {
    message = shown(std::move(message));
  }
  if (chain_.empty()) {
    chain_.emplace_back("unknown error");
  }
  render();
}

Error::Error(ErrorCode code, const Error& cause)
    : code_(code), is_of_machine_(cause.is_of_machine_), chain_(cause.chain_), text_(cause.text_) {}

Error& Error::context(std::string outer) & {
  chain_.insert(chain_.begin(), shown(std::move(outer)));
  render();
  return *this;
}

Error&& Error::context(std::string outer) && { return std::move(this->context(std::move(outer))); }

Error& Error::caused_by(std::string cause, LineBreaks breaks) {
  chain_.push_back(shown(std::move(cause), breaks));
  render();
  return *this;
}

Error& Error::caused_by(const Error& cause) {
  chain_.insert(chain_.end(), cause.chain_.begin(), cause.chain_.end());
  keep_origin(cause);
  render();
  return *this;
}

void Error::render() {
  text_ = chain_.front();
  std::string_view outer = chain_.front();
  for (std::size_t i = 1; i < chain_.size(); ++i) {
    // The reference repeats a cause at the end of its outer text ("failed to query …: not found"). It is shown once.
    if (!outer.ends_with(chain_[i])) {
      text_ += "\n  caused by: ";
      text_ += chain_[i];
    }
    outer = chain_[i];
  }
}

Error system_error(std::string_view what, int errnum) {
  ErrorCode code = ErrorCode::kIo;
  if (errnum == ENOENT || errnum == ENOTDIR) {
    code = ErrorCode::kNotFound;
  } else if (errnum == EACCES || errnum == EPERM) {
    code = ErrorCode::kPermission;
  } else if (errnum == EBUSY) {
    code = ErrorCode::kBusy;
  } else if (errnum == ENOSPC || errnum == EDQUOT) {
    code = ErrorCode::kFull;
  }
  Error error(code, std::string(what) + ": " + errno_text(errnum));
  error.is_of_machine_ = errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM;
  return error;
}

Error os_error(const std::string& what, int errnum) {
  const Error whole = system_error(what, errnum);
  Error error(whole.code(), {what, errno_text(errnum)});
  error.is_of_machine_ = whole.is_of_machine_;
  return error;
}

Error start_error(std::string_view what, int errnum) {
  const bool is_denied = errnum == EPERM || errnum == ENOSYS;
  Error error(is_denied ? ErrorCode::kPermission : ErrorCode::kIo, std::string(what) + ": " + start_text(errnum));
  error.is_of_machine_ = true;
  return error;
}

Error current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return system_error("Out of memory", ENOMEM);
  } catch (const std::system_error& error) {
    // Only the start of a thread throws one whose text is that of its number alone.
    if (error.code().category() == std::generic_category() && error.what() == error.code().message()) {
      return start_error("Unable to start a thread", error.code().value());
    }
    return {ErrorCode::kInternal, std::string("internal error: ") + error.what()};
  } catch (const std::exception& error) {
    return {ErrorCode::kInternal, std::string("internal error: ") + error.what()};
  } catch (...) {
    return {ErrorCode::kInternal, "internal error: an exception of an unknown type"};
  }
}

}  // namespace pkgfs
