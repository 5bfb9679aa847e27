// The checks of what a guest writes that every frame pays for.
//
// They are always there but in one build, which the benchmark makes to show what they cost and
// which is for nothing else (TSVSWITCH_UNCHECKED, see ../CMakeLists.txt).

#pragma once

namespace tsvswitch {

#if defined(TSVSWITCH_UNCHECKED)
inline constexpr bool kChecks = false;
#else
inline constexpr bool kChecks = true;
#endif

constexpr bool BoundsHold(bool condition) { return !kChecks || condition; }

}  // namespace tsvswitch
