// Keeping a thread on one CPU.

#pragma once

namespace tsvswitch::bench {

// Moves the calling thread to `cpu` for good; fails with a sentence.
void PinThread(int cpu);

}  // namespace tsvswitch::bench
