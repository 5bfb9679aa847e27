// A port of the client on a tap device: what a Linux bridge can be given, as it takes no
// vhost-user.
//
// Frames go through read and write, one system call each, behind the same virtio-net header as in a
// ring (IFF_VNET_HDR); the bridge does its work inside the write. So this says what the bridge
// delivers, and is the yardstick for function; it is no guest, whose frames would have to pass
// vhost-net as well.
//
// The device exists already, is up, and is in the network namespace of this process.
// Source: Linux Documentation/networking/tuntap.rst, linux/if_tun.h.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>

#include "port.h"

namespace tsvswitch::bench {

// Opens the device; fails with a sentence.
std::unique_ptr<Port> MakeTapPort(size_t index, const FrameShape& shape, Touch touch,
                                  const std::string& device);

}  // namespace tsvswitch::bench
