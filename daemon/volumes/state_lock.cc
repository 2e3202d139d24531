// SPDX-License-Identifier: MIT
#include "daemon/volumes/state_lock.h"

#include <optional>
#include <system_error>
#include <utility>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/private_directory.h"

namespace pkgfs {

FileLock lock_state(const std::string& directory, const std::string& owner, const std::string& advice) {
  CancelFlag at_once;
  at_once.cancel();
  make_private_directory(directory);
  std::error_code failed;
  std::optional<PrivateDirectory> opened = PrivateDirectory::find_chosen(directory, failed);
  if (!opened) {
    throw cannot_create_directory(directory, failed.value());
  }
  try {
    return {*std::move(opened), "lock", at_once};
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw Error(ErrorCode::kBusy, "Another " + owner + " uses the state directory \"" + directory + "\"; " + advice);
    }
    throw;
  }
}

}  // namespace pkgfs
