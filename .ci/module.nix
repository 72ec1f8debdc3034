# Units of the NixOS module, evaluated where nixpkgs cannot be reached. The functions of its library
# that the module calls are stand-ins; `nix flake check` evaluates it with the real ones.
let
  lib = {
    inherit (builtins) concatStringsSep mapAttrs replaceStrings;
    boolToString = value: if value then "true" else "false";
    getExe = package: "${package}/bin/mattermost-telemetry";
    hasInfix = part: text: builtins.length (builtins.split part text) > 1;
    hasPrefix = start: text: builtins.substring 0 (builtins.stringLength start) text == start;
    literalMD = text: text;
    removePrefix =
      start: text:
      if lib.hasPrefix start text then
        builtins.substring (builtins.stringLength start) (builtins.stringLength text) text
      else
        text;
    mkEnableOption = _: { default = false; };
    mkIf = condition: content: if condition then content else null;
    mkOption = option: option;
    optional = condition: item: if condition then [ item ] else [ ];
    types = {
      package = null;
      str = null;
      port = null;
      bool = null;
      path = null;
      nullOr = _: null;
      listOf = _: null;
      enum = _: null;
      ints.positive = null;
      ints.unsigned = null;
      ints.u16 = null;
    };
  };
  pkgs = {
    stdenv.hostPlatform.system = "a-system";
    litestream = "/litestream";
  };
  evaluate =
    cfg:
    import ../nix/module.nix
      {
        packages.a-system.default = "/package";
        outPath = "/source";
      }
      {
      inherit lib pkgs;
      config.services.mattermost-telemetry = cfg;
    };
  inherit ((evaluate { }).options.services) mattermost-telemetry;
  units =
    settings:
    let
      value = name: option: (option.apply or (given: given)) (settings.${name} or option.default);
      cfg = builtins.mapAttrs value mattermost-telemetry // {
        enable = true;
      };
    in
    (evaluate cfg).config.systemd.services;
  unit = settings: (units settings).mattermost-telemetry;
  replicated = units { replicaUrl = "s3://bucket/100%"; };

  address = settings: (unit settings).environment.SERVER_ADDRESS;
  percent = unit {
    databaseUrl = "sqlite:///var/lib/mattermost-telemetry/a%20b.db";
    logFilter = "info,100%=debug";
    readTokenFile = "/run/keys/100%";
    corsAllowedOrigins = [
      "https://a.example"
      "https://%b.example"
    ];
  };
  is =
    expected: actual:
    actual == expected || throw "${builtins.toJSON actual} instead of ${builtins.toJSON expected}";
in
builtins.all (correct: correct) [
  # An IPv6 address with or without its brackets.
  (is "127.0.0.1:8080" (address { }))
  (is "[::]:8080" (address { address = "::"; }))
  (is "[::]:8080" (address { address = "[::]"; }))
  (is "[fe80::1%%eth0]:80" (address {
    address = "fe80::1%eth0";
    port = 80;
  }))
  # systemd reads `%` as the begin of a specifier, and `%%` as `%`.
  (is "sqlite:///var/lib/mattermost-telemetry/a%%20b.db" percent.environment.DATABASE_URL)
  (is "info,100%%=debug" percent.environment.RUST_LOG)
  (is "https://a.example,https://%%b.example" percent.environment.CORS_ALLOWED_ORIGINS)
  (is "%d/read-token" percent.environment.READ_TOKEN_FILE)
  (is [ "read-token:/run/keys/100%%" ] percent.serviceConfig.LoadCredential)
  # The public view is off unless it is switched on.
  (is "false" (unit { }).environment.PUBLIC_VIEW)
  (is "true" (unit { publicView = true; }).environment.PUBLIC_VIEW)
  # Backups are made, and may be written, where there is a folder for them.
  (is "" (unit { }).environment.BACKUP_DIR)
  (is [ ] (unit { }).serviceConfig.ReadWritePaths)
  (is "/backups/100%%" (unit { backupDir = "/backups/100%"; }).environment.BACKUP_DIR)
  (is [ "-/backups/100%%" ] (unit { backupDir = "/backups/100%"; }).serviceConfig.ReadWritePaths)
  # A board without a battery clock boots in the past.
  (is [ "network-online.target" "time-sync.target" ] (unit { }).after)
  (is [ "network-online.target" "time-sync.target" ] (unit { }).wants)
  # Without a replica there is no Litestream.
  (is null (units { }).mattermost-telemetry-replica)
  (is null (units { }).mattermost-telemetry-restore)
  (is "s3://bucket/100%%" replicated.mattermost-telemetry-replica.environment.REPLICA_URL)
  (is "/litestream/bin/mattermost-telemetry replicate -config /source/litestream.yml"
    replicated.mattermost-telemetry-replica.serviceConfig.ExecStart
  )
  (is "/var/lib/mattermost-telemetry/telemetry.db"
    replicated.mattermost-telemetry-restore.environment.TELEMETRY_DATABASE
  )
  (is [ "mattermost-telemetry.service" ] replicated.mattermost-telemetry-restore.before)
]
