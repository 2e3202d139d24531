// SPDX-License-Identifier: MIT
#include "daemon/commands/damage.h"

#include <cerrno>
#include <ostream>
#include <string>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/text_output.h"

namespace pkgfs {

Error look_up_error(std::string_view what, int errnum) {
  const Error error = system_error(what, errnum);
  return errnum == EIO ? Error(ErrorCode::kCorrupt, error) : error;
}

Error entry_error(std::string_view path, int errnum) {
  const Error error = look_up_error("\"" + std::string(path) + "\" in the tree", errnum);
  return errnum == ELOOP ? Error(ErrorCode::kCorrupt, error) : error;
}

void Damage::report(const Error& error) {
  if (error.is_of_machine()) {
    throw Error(error);
  }
  if (!code_ || error.code() == ErrorCode::kCorrupt) {
    code_ = error.code();
  }
  err_ << error_text(error);
}

int Damage::exit_code() const { return code_ ? to_exit_code(*code_) : kExitOk; }

}  // namespace pkgfs
