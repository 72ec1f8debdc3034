// A dashboard file and a file of alert rules, out of Grafana's published types. `@grafana/schema` is that of the version that
// is being checked: .ci/check-dashboards maps the name.

import type { Rule, Query } from '@grafana/grafana-foundation-sdk/alerting';
import type { TypeThreshold } from '@grafana/grafana-foundation-sdk/expr';
import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus';
import type * as units from '@grafana/grafana-foundation-sdk/units';
import type * as grafana from '@grafana/schema';
import type * as raw from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as barGauge from '@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as heatmap from '@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as text from '@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';
import type * as timeSeries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

// What JSON can say of T: the values of an enum instead of its members.
type Json<T> = T extends string
  ? `${T}`
  : T extends (infer U)[]
    ? Json<U>[]
    : T extends object
      ? { [K in keyof T]: Json<T[K]> }
      : T;

type Unit = (typeof units)[keyof typeof units];
type Shade = '' | 'super-light-' | 'light-' | 'semi-dark-' | 'dark-';
type Color = `${Shade}${'red' | 'orange' | 'yellow' | 'green' | 'blue' | 'purple'}` | 'text' | `#${string}`;

// The published types leave these open; they follow `@grafana/data`.
type Link = { title: string; url: string; targetBlank?: boolean };
type Matcher = { id: 'byName' | 'byFrameRefID'; options: string };
type Transformation =
  | { id: 'merge'; options: Record<string, never> }
  | { id: 'sortBy'; options: { sort: { field: string; desc?: boolean }[] } }
  | { id: 'convertFieldType'; options: { conversions: { targetField: string; destinationType: 'number' | 'string' | 'time' }[] } }
  | {
      id: 'groupingToMatrix';
      options: { columnField: string; rowField: string; valueField: string; emptyValue?: 'null' | 'zero' | 'empty' };
    }
  | {
      id: 'organize';
      options: {
        excludeByName: Record<string, boolean>;
        includeByName?: Record<string, boolean>;
        indexByName?: Record<string, number>;
        renameByName: Record<string, string>;
      };
    };

type Field<C> = Omit<Json<raw.FieldConfig>, 'color' | 'custom' | 'links' | 'unit'> & {
  color?: Omit<Json<raw.FieldColor>, 'fixedColor'> & { fixedColor?: Color };
  custom?: Json<C>;
  links?: Link[];
  unit?: Unit;
};
type Property<T, Prefix extends string> = {
  [K in keyof T & string]-?: { id: `${Prefix}${K}`; value: NonNullable<T[K]> };
}[keyof T & string];

type Source = Required<Json<raw.DataSourceRef>>;

type Target = Json<Omit<Dataquery, '_implementsDataqueryVariant' | 'refId' | 'datasource'>> & {
  refId: string;
  datasource: Source;
};

type Panel<Type extends string, Options, Custom> = Omit<
  Json<raw.Panel>,
  'datasource' | 'fieldConfig' | 'options' | 'targets' | 'transformations' | 'type'
> & {
  type: Type;
  datasource?: Source;
  targets?: Target[];
  transformations?: Transformation[];
  options: Json<Options>;
  fieldConfig: {
    // `custom` of a whole field may be a part of it; Grafana fills in the rest.
    defaults: Field<Partial<Custom>>;
    overrides: {
      matcher: Matcher;
      properties: (Property<Omit<Field<Custom>, 'custom'>, ''> | Property<Json<Custom>, 'custom.'>)[];
    }[];
  };
};

type AnyPanel =
  | (Omit<Json<raw.RowPanel>, 'panels'> & { panels: never[] })
  | Panel<'bargauge', barGauge.Options, {}>
  | Panel<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Panel<'stat', stat.Options, {}>
  | Panel<'table', grafana.TableOptions, grafana.TableFieldOptions>
  | Panel<'text', text.Options, {}>
  | Panel<'timeseries', timeSeries.Options, timeSeries.FieldConfig>;

type Variable = Omit<Json<grafana.VariableModel>, 'query' | 'datasource'> & {
  datasource: Source;
  query: { qryType: 1; query: string; refId: string };
};

export type Dashboard = Omit<Json<grafana.Dashboard>, 'panels' | 'templating'> & {
  panels: AnyPanel[];
  templating: { list: Variable[] };
};

// The types of rules are those of the provisioning API, which are not published by version. A file
// has the group and the folder by name around its rules instead of within each.
type Expression = { type: '__expr__'; uid: '__expr__' };
type RuleQuery = Required<Pick<Query, 'refId'>> & Omit<Query, 'refId' | 'datasourceUid' | 'model'> &
  (
    | { datasourceUid: 'mattermost-telemetry'; model: Target }
    | {
        datasourceUid: Expression['uid'];
        model: Omit<Json<TypeThreshold>, '_implementsDataqueryVariant' | 'datasource' | 'refId'> & {
          refId: string;
          datasource: Expression;
        };
      }
  );
type AlertRule = Omit<
  Json<Rule>,
  'data' | 'folderUID' | 'id' | 'orgID' | 'provenance' | 'ruleGroup' | 'uid' | 'updated' | 'missingSeriesEvalsToResolve'
> & { uid: string; data: RuleQuery[] };

export type AlertRules = {
  apiVersion: 1;
  groups: { orgId: number; name: string; folder: string; interval: string; rules: AlertRule[] }[];
};
