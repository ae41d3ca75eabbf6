//! What: `settled` of DNS records and of tunnels' configurations, false from before a call that changes them until its
//! outcome is known; and a cause word beside the reason of a route and of a tunnel. Why: what a call whose answer was
//! lost made of a record has to be looked at before anything is said of it, and nobody should decide by the words that
//! are for people. Also how many calls an account may still make (`call_budgets`), so that a restart does not forget it.
//! Previous release: reads none of them; rows that it writes count as settled, as before.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, boolean, text, text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

const SETTLED: [&str; 2] = ["dns_records", "tunnel_status"];
const CAUSE: [&str; 2] = ["route_status", "tunnel_status"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in SETTLED {
            let column = boolean("settled").default(true).take();
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        for table in CAUSE {
            let column = text_null("cause").take();
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        let budgets = Table::create()
            .table("call_budgets")
            .col(text("account_id").primary_key())
            .col(big_integer("calls_left"))
            .col(big_integer("noted_at"))
            .col(big_integer_null("blocked_until"))
            .to_owned();
        manager.create_table(budgets).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("call_budgets").to_owned()).await?;
        for (tables, column) in [(SETTLED, "settled"), (CAUSE, "cause")] {
            for table in tables {
                manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
            }
        }
        Ok(())
    }
}
