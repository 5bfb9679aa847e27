# What npm runs on install. It compiles nothing itself: one action hands over to cmake-js, which builds
# native/CMakeLists.txt, so that there is one description of the native build.
{
  'targets': [
    {
      'target_name': 'tsvswitch',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake-js',
          'inputs': ['native/CMakeLists.txt'],
          'outputs': ['build/release/Release/tsvswitch.node'],
          'action': ['npm', 'run', 'build:native'],
        },
      ],
    },
  ],
}
