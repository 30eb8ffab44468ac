{
  "targets": [
    {
      "target_name": "fewbit",
      "type": "none",
      "actions": [
        {
          "action_name": "delegate_to_cmake_js",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(module_root_dir)/build/<(CONFIGURATION_NAME)/always_out_of_date"],
          "action": ["node", "scripts/build-native.mjs", "<(CONFIGURATION_NAME)"]
        }
      ]
    }
  ]
}
