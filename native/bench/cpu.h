// Keeping a thread on one CPU.

#ifndef TSVSWITCH_BENCH_CPU_H_
#define TSVSWITCH_BENCH_CPU_H_

namespace tsvswitch::bench {

// Moves the calling thread to `cpu` for good; fails with a sentence.
void PinThread(int cpu);

}  // namespace tsvswitch::bench

#endif  // TSVSWITCH_BENCH_CPU_H_
