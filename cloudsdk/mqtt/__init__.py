"""Sans-IO MQTT 3.1.1: packet codec, shared by the embedded broker and the fleet engine."""
