# The NixOS module. `self` is the flake: the module runs the package that belongs to it.
self:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.mattermost-telemetry;
  stateFolder = "/var/lib/mattermost-telemetry";
  # The credential's name, and so the file's name in the unit's credential folder.
  token = "read-token";
  list = lib.concatStringsSep ",";
  # systemd reads `%` as the begin of a specifier.
  literal = lib.replaceStrings [ "%" ] [ "%%" ];
  host =
    if lib.hasInfix ":" cfg.address && !lib.hasPrefix "[" cfg.address then
      "[${cfg.address}]"
    else
      cfg.address;

  # Litestream, as the server's user and in its folder.
  litestream = command: {
    environment = lib.mapAttrs (_: literal) {
      TELEMETRY_DATABASE = lib.removePrefix "sqlite://" cfg.databaseUrl;
      REPLICA_URL = cfg.replicaUrl;
      REPLICA_SYNC_INTERVAL = cfg.replicaSyncInterval;
    };
    serviceConfig = {
      ExecStart = "${lib.getExe pkgs.litestream} ${command}";
      EnvironmentFile = lib.mkIf (cfg.replicaEnvironmentFile != null) (
        literal cfg.replicaEnvironmentFile
      );
      DynamicUser = true;
      User = "mattermost-telemetry";
      StateDirectory = "mattermost-telemetry";
      StateDirectoryMode = "0700";
      UMask = "0077";
      CapabilityBoundingSet = [ "" ];
      LockPersonality = true;
      NoNewPrivileges = true;
      PrivateDevices = true;
      PrivateTmp = true;
      ProtectControlGroups = true;
      ProtectHome = true;
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      ProtectSystem = "strict";
      RestrictNamespaces = true;
      RestrictRealtime = true;
      SystemCallArchitectures = "native";
    };
  };
  configuration = "-config ${self}/litestream.yml";
in
{
  options.services.mattermost-telemetry = {
    enable = lib.mkEnableOption "the telemetry server for Mattermost containers";

    package = lib.mkOption {
      type = lib.types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      defaultText = lib.literalMD "`packages.default` of the flake";
      description = "Package of the server.";
    };

    address = lib.mkOption {
      type = lib.types.str;
      default = "127.0.0.1";
      example = "::";
      description = "Address to listen on; an IPv6 address with or without brackets.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 8080;
      description = "Port to listen on.";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether to open {option}`port` in the firewall.";
    };

    databaseUrl = lib.mkOption {
      type = lib.types.str;
      default = "sqlite://${stateFolder}/telemetry.db";
      description = ''
        The database. The unit may write to `${stateFolder}` only; for another folder, add it
        to `systemd.services.mattermost-telemetry.serviceConfig.ReadWritePaths`.
      '';
    };

    readTokenFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      # A path literal would copy the secret into the world-readable store.
      apply = path: if path == null then null else toString path;
      example = "/run/keys/telemetry-token";
      description = ''
        File that holds the bearer token for all routes but `POST /collect`, `/health` and
        `/ready`. systemd reads it as root and hands it to the unit as a credential.
      '';
    };

    trustedProxies = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "127.0.0.1/32" ];
      description = "Networks whose `X-Forwarded-For` is believed.";
    };

    rateLimitPerMinute = lib.mkOption {
      type = lib.types.ints.unsigned;
      default = 120;
      description = "Reports a minute from one client address; no limit if 0.";
    };

    instanceRateLimitPerHour = lib.mkOption {
      type = lib.types.ints.unsigned;
      default = 60;
      description = "Reports an hour from one `instance_id`; no limit if 0.";
    };

    retentionDays = lib.mkOption {
      type = lib.types.ints.u16;
      default = 0;
      description = "Age in days at which single reports are pruned; their counts stay; no pruning if 0.";
    };

    backupDir = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "${stateFolder}/backups";
      description = ''
        Folder for backups that the server makes by itself. The unit has a user of its own, who owns
        `${stateFolder}`: another disk is best mounted on a folder in there. A folder elsewhere must
        be there and be writable by that user.
      '';
    };

    backupEvery = lib.mkOption {
      type = lib.types.str;
      default = "24h";
      example = "7d";
      description = "Time between two backups, in hours or days.";
    };

    backupKeep = lib.mkOption {
      type = lib.types.str;
      default = "7d,4w,12m";
      description = "Number of days, weeks and months of each of which one backup is kept.";
    };

    publicView = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether everybody may read rounded totals and breakdowns, at `/public`.";
    };

    publicMinimum = lib.mkOption {
      type = lib.types.ints.positive;
      default = 5;
      description = "Smallest group of instances that the public view shows, and the step of its counts.";
    };

    corsAllowedOrigins = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "https://example.com" ];
      description = "Origins that may read from a browser.";
    };

    grafanaUrl = lib.mkOption {
      type = lib.types.str;
      default = "";
      example = "https://grafana.example.com";
      description = "Address of Grafana, to which the page of the server links; no link if empty.";
    };

    replicaUrl = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "s3://bucket/telemetry";
      description = ''
        Where Litestream keeps a replica of the database, from which an empty state folder is filled; none if
        null. {option}`databaseUrl` must be a plain path then.
      '';
    };

    replicaSyncInterval = lib.mkOption {
      type = lib.types.str;
      default = "10s";
      description = "How often changes are written to the replica.";
    };

    replicaEnvironmentFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      apply = path: if path == null then null else toString path;
      example = "/run/keys/litestream";
      description = ''
        File with `LITESTREAM_ACCESS_KEY_ID` and `LITESTREAM_SECRET_ACCESS_KEY`, or with `REPLICA_SFTP_KEY` and
        `REPLICA_SFTP_HOST_KEY`, as systemd's `EnvironmentFile`.
      '';
    };

    logFormat = lib.mkOption {
      type = lib.types.enum [
        "text"
        "json"
      ];
      default = "text";
      description = "Form of the log lines.";
    };

    logFilter = lib.mkOption {
      type = lib.types.str;
      default = "info";
      example = "info,mattermost_telemetry=debug";
      description = "Filter of the log, in the form of tracing.";
    };
  };

  config = lib.mkIf cfg.enable {
    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ cfg.port ];

    systemd.services.mattermost-telemetry = {
      description = "Telemetry server for Mattermost containers";
      wantedBy = [ "multi-user.target" ];
      # Reports are dated by this machine's clock, which boots in the past without a battery.
      wants = [
        "network-online.target"
        "time-sync.target"
      ];
      after = [
        "network-online.target"
        "time-sync.target"
      ];

      environment = lib.mapAttrs (_: literal) {
        SERVER_ADDRESS = "${host}:${toString cfg.port}";
        DATABASE_URL = cfg.databaseUrl;
        TRUSTED_PROXIES = list cfg.trustedProxies;
        RATE_LIMIT_PER_MINUTE = toString cfg.rateLimitPerMinute;
        INSTANCE_RATE_LIMIT_PER_HOUR = toString cfg.instanceRateLimitPerHour;
        RETENTION_DAYS = toString cfg.retentionDays;
        BACKUP_DIR = if cfg.backupDir == null then "" else cfg.backupDir;
        BACKUP_EVERY = cfg.backupEvery;
        BACKUP_KEEP = cfg.backupKeep;
        PUBLIC_VIEW = lib.boolToString cfg.publicView;
        PUBLIC_MINIMUM = toString cfg.publicMinimum;
        CORS_ALLOWED_ORIGINS = list cfg.corsAllowedOrigins;
        GRAFANA_URL = cfg.grafanaUrl;
        LOG_FORMAT = cfg.logFormat;
        RUST_LOG = cfg.logFilter;
        SQLITE_TMPDIR = stateFolder;
      }
      // {
        # %d is the unit's credential folder.
        READ_TOKEN_FILE = lib.mkIf (cfg.readTokenFile != null) "%d/${token}";
      };

      serviceConfig = {
        ExecStart = "${lib.getExe cfg.package} serve";
        LoadCredential = lib.mkIf (cfg.readTokenFile != null) [ "${token}:${literal cfg.readTokenFile}" ];
        Restart = "on-failure";
        RestartSec = 2;
        # Longer than emptying a full write queue takes, so that a stop never cuts it short.
        TimeoutStopSec = 30;

        DynamicUser = true;
        StateDirectory = "mattermost-telemetry";
        StateDirectoryMode = "0700";
        UMask = "0077";
        # A folder that is missing makes a backup fail, and not the start.
        ReadWritePaths = lib.optional (cfg.backupDir != null) "-${literal cfg.backupDir}";

        # It listens on a port and writes one folder; everything else is closed.
        # A port below 1024 needs one capability, which is given only then.
        AmbientCapabilities = lib.optional (cfg.port < 1024) "CAP_NET_BIND_SERVICE";
        CapabilityBoundingSet = if cfg.port < 1024 then [ "CAP_NET_BIND_SERVICE" ] else [ "" ];
        DevicePolicy = "closed";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        NoNewPrivileges = true;
        PrivateDevices = true;
        PrivateTmp = true;
        PrivateUsers = cfg.port >= 1024;
        ProcSubset = "pid";
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RemoveIPC = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        # An error that the program reports, instead of its sudden end.
        SystemCallErrorNumber = "EPERM";
      };
    };

    # Writes the database where there is none and the replica has one, then ends.
    systemd.services.mattermost-telemetry-restore = lib.mkIf (cfg.replicaUrl != null) (
      let
        database = literal (lib.removePrefix "sqlite://" cfg.databaseUrl);
        restore = litestream "restore ${configuration} -if-db-not-exists -if-replica-exists ${database}";
      in
      restore
      // {
        description = "Restore of the telemetry server's database";
        requiredBy = [ "mattermost-telemetry.service" ];
        before = [ "mattermost-telemetry.service" ];
        wants = [ "network-online.target" ];
        after = [ "network-online.target" ];
        serviceConfig = restore.serviceConfig // {
          Type = "oneshot";
        };
      }
    );

    systemd.services.mattermost-telemetry-replica = lib.mkIf (cfg.replicaUrl != null) (
      let
        replicate = litestream "replicate ${configuration}";
      in
      replicate
      // {
        description = "Replica of the telemetry server's database";
        wantedBy = [ "multi-user.target" ];
        after = [ "mattermost-telemetry.service" ];
        serviceConfig = replicate.serviceConfig // {
          Restart = "always";
          RestartSec = 5;
        };
      }
    );
  };
}
