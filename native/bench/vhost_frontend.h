// The frontend's side of the vhost-user protocol, as little of it as a polling driver needs.
//
// Connect() retries until the backend listens, negotiates VERSION_1 and what the trial cannot do
// without (both required), MRG_RXBUF and REPLY_ACK (if offered); Start() shares the memory and
// starts and enables the queues. Every request is bounded in time. A request without a reply of its
// own is followed by its REPLY_ACK when that was agreed; when it was not, Start() ends with a
// GET_FEATURES, whose reply proves that the backend has handled everything before it.
//
// Not here: reconnecting, EVENT_IDX, requests from the backend.
// Source: vhost-user "Message Specification", "Communication", "Starting and stopping rings",
// "Vring descriptor indices for packed virtqueues".

#pragma once

#include <stdint.h>

#include <string>
#include <utility>
#include <vector>

#include "port_memory.h"
#include "queue.h"

namespace tsvswitch::bench {

// What a trial cannot do without.
struct FrontendWishes {
  bool packed = false;
  bool segmentation = false;  // Frames that no wire takes, in both directions.
};

class VhostFrontend {
 public:
  VhostFrontend(std::string socket_path, const FrontendWishes& wishes)
      : path_(std::move(socket_path)), wishes_(wishes) {}
  VhostFrontend(const VhostFrontend&) = delete;
  VhostFrontend& operator=(const VhostFrontend&) = delete;
  ~VhostFrontend();

  // Connects within `timeout_s` and negotiates; fails with a sentence.
  void Connect(double timeout_s);

  // Shares the memory, then starts and enables queue i as layouts[i]. The rings are set up and may
  // be used by the backend at any moment from here on.
  void Start(const PortMemory& memory, const std::vector<QueueLayout>& layouts);

  // Rings the doorbell of a queue.
  void Kick(size_t queue) const;

  // Whether the connection still stands; never blocks.
  bool Alive() const;

  const std::string& path() const { return path_; }

 private:
  struct Eventfds {
    int kick;
    int call;
  };
  struct Message;

  void Send(Message& message, const int* fds, size_t fd_count);
  // For requests that have no reply of their own: sends, and waits for the REPLY_ACK if agreed.
  void Tell(Message& message, const int* fds = nullptr, size_t fd_count = 0);
  uint64_t Ask(uint32_t request);
  uint64_t ReceiveU64(uint32_t request);
  void StartQueue(uint32_t queue, const QueueLayout& layout);

  const std::string path_;
  const FrontendWishes wishes_;
  int fd_ = -1;
  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  std::vector<Eventfds> eventfds_;
};

}  // namespace tsvswitch::bench
