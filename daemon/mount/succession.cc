// SPDX-License-Identifier: MIT
#include "daemon/mount/succession.h"

#include <fcntl.h>

#include <utility>

#include "core/base/error.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/keeperd.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/taking_over.h"

namespace pkgfs {

Succession::Succession(std::optional<Predecessor> predecessor, Keeping keeping, const std::string& mountpoint)
    : predecessor_(std::move(predecessor)), keeping_(keeping), state_(state_of(predecessor_, keeping_)) {
  if (pkgfs::has_keeper(keeping_) && !predecessor_) {
    early_keeper_ = KeeperProcess::start_early(mountpoint);
  }
}

void Succession::keep_nothing(const std::string& why) {
  warn_not_kept(why);
  keeping_ = Keeping::kNothing;
}

bool Succession::begin(MountWatch& watch, fuse::Session& session, const fuse::MountSettings& settings,
                       const std::string& given) {
  const UniqueFd claim = claim_mountpoint(given, settings.mountpoint);
  session.mount();
  if (!watch.wait_until_ready(session, settings.mountpoint)) {
    return false;
  }
  const std::optional<MountEntry> own = find_own_mount(settings);  // the claim keeps others from mounting here
  guards_.emplace(own ? own->device : std::string());
  return true;
}

void Succession::go_on(fuse::Session& session, fuse::Statistics& statistics) {
  guards_.emplace(predecessor_->record.device);
  const bool resends = !must_keep_requests(predecessor_->record.handshake);
  if (!resends) {
    requests_ = requests_of(*predecessor_);
  }
  take_over(session, *predecessor_, statistics, resends);
  if (predecessor_->control) {
    early_crashes_.emplace();  // the keeper of the daemon before is told of a crash until this daemon has one
    early_crashes_->start(UniqueFd(::fcntl(predecessor_->control.get(), F_DUPFD_CLOEXEC, 0)));
  }
}

void Succession::keep_requests(const fuse::Session& session) {
  if (requests_ != nullptr || !is_kept() || !must_keep_requests(session.handshake())) {
    return;
  }
  try {
    requests_ = fuse::RequestStore::create();
  } catch (const Error& error) {
    keep_nothing(error.message());
  }
}

void Succession::start(fuse::Session& session, fuse::Statistics& statistics, Mount mount) {
  if (pkgfs::has_keeper(keeping_)) {
    make_keeper(keeper_, *guards_, std::move(mount.record), mount.parts,
                keeping_ == Keeping::kBackedKeeper ? keeperd_socket() : std::string(), std::move(early_keeper_));
  }
  if (keeper_ && replaces()) {
    replace_with(*keeper_, *predecessor_);
  }
  early_keeper_ = {};  // ends it if it isn't needed
  mount.servers.poisoned = poisoned_requests(state_, predecessor_, mount.tree, mount.ids);
  mount.servers.keep_requests = requests_.get();
  end_haste();
  session.start(mount.servers);
  if (predecessor_) {
    begin_serving(*predecessor_, statistics);
  }
  const auto serve_alone = [&] {
    mount.serve_alone();
    if (requests_) {
      requests_->serve();
    }
  };
  if (!replaces()) {
    serve_alone();
  }
  if (keeper_) {
    guards_->use(*keeper_, session, replaces());
  }
  if (replaces()) {
    if (!has_keeper()) {  // the daemon before has one
      give_up("it has no keeper");
    }
    end_predecessor(*predecessor_);
    serve_alone();
  }
  if (keeper_) {
    keeper_->has_replaced();
    guards_->back_up();
  }
  early_crashes_.reset();
  if (predecessor_) {
    tell_keeper(*predecessor_, state_);  // at once: if this daemon is killed now, two keepers would act
  }
}

void Succession::watch_predecessor(MountWatch& watch, fuse::Session& session, std::function<void()> ended) {
  if (!predecessor_ || !predecessor_->process) {
    return;
  }
  // A thread of it that only ends now may have taken a request after the kernel was asked to send all again.
  watch.call_when_readable(predecessor_->process.get(), [this, &session, ended = std::move(ended)] {
    session.take_back();
    predecessor_->process.reset();
    ended();
  });
}

std::string Succession::store(ServiceManager& manager, MountRecord record, const KeptParts& parts) const {
  record.device = guards_->device();
  return store_mount(manager, std::move(record), parts);
}

void Succession::let_go(ServiceManager& manager) {
  if (keeper_) {
    keeper_->let_go();
  } else if (keeping_ == Keeping::kServiceManager) {
    manager.forget_stored();
  }
}

void Succession::describe(MountFacts& facts) const {
  facts.kept = keeper_.has_value();
  facts.keeper = keeper_ ? keeper_->id() : 0;
  facts.keeperd = keeper_ && keeper_->is_registered();
}

}  // namespace pkgfs
